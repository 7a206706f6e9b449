-- LEFT, RIGHT and FULL joins: unmatched rows must appear once, not once for each shard.

-- arm: union
select s.id, i.line from sale s left join item i on i.sale_id = s.id;

-- arm: union
select i.sale_id, i.line, s.kind from sale s right join item i on i.sale_id = s.id;

-- arm: union
select s.id, i.sale_id, i.line from sale s full join item i on i.sale_id = s.id;

-- arm: union
-- trap 15: a replicated table on the nullable side is safe
select s.id, c.name from sale s left join customer c on c.id = s.customer_id;

-- trap 15, shipped 14
select c.id, s.id from customer c left join sale s on s.customer_id = c.id;

-- trap 15, shipped 14
select c.id, count(s.id), max(s.day) from customer c left join sale s on s.customer_id = c.id group by c.id;

-- trap 15
select count(*) from customer c left join sale s on s.customer_id = c.id and s.price > 900;

-- trap 15
select s.id, c.id from sale s right join customer c on c.id = s.customer_id where c.id < 40;

-- trap 15
select count(*), count(s.id), count(c.id) from sale s full join customer c on c.id = s.customer_id;

-- trap 15
select r.name, count(s.id) from region r left join customer c on c.region_id = r.id left join sale s on s.customer_id = c.id group by r.name;

-- trap 15: the anti join of a replicated table
select c.id from customer c left join sale s on s.customer_id = c.id where s.id is null;

-- arm: union
select s.id from sale s left join item i on i.sale_id = s.id where i.sale_id is null;

-- a WHERE that takes the outer join back
select c.id, s.id from customer c left join sale s on s.customer_id = c.id where s.qty > 15;

select s.id, i.line from sale s left join item i on i.sale_id = s.id and i.amount > 300 where s.id < 60;

select s.id, i.line from sale s left join item i on i.sale_id = s.id and s.paid where s.id < 60;

select s.id, i.line, p.name from sale s left join item i on i.sale_id = s.id left join product p on p.id = i.product_id and p.category = 'toy' where s.id < 100;

select s.id, i.line, p.name from sale s left join (item i join product p on p.id = i.product_id) on i.sale_id = s.id where s.id < 100;

select p.id, count(i.sale_id) from product p left join item i on i.product_id = p.id group by p.id;

select p.id, i.sale_id, s.qty from product p left join (item i join sale s on s.id = i.sale_id and s.qty = 3) on i.product_id = p.id;

-- off the key, another group
select v.n, s.id from visit v left join sale s on s.id = v.sale_id;

select s.id, v.n from sale s left join visit v on v.sale_id = s.id where s.id < 120;

select count(*), count(v.n), count(s.id) from visit v full join sale s on s.id = v.sale_id;

-- trap 7: a key that is NULL matches nothing
select v.n, v.visitor, p.age from visit v left join profile p on p.visitor = v.visitor;

select p.visitor, v.n from profile p left join visit v on v.visitor = p.visitor;

select count(*), count(p.visitor), count(v.n) from visit v full join profile p on p.visitor = v.visitor;

select coalesce(v.visitor, p.visitor), count(*) from visit v full join profile p on p.visitor = v.visitor group by 1;

select visitor, count(v.n), count(p.age) from visit v full join profile p using (visitor) group by visitor;

select visitor, n, age from visit v left join profile p using (visitor) where n < 50;

-- the calendar has days without sales
-- trap 15
select c.day, count(s.id), coalesce(sum(s.price), 0) from calendar c left join sale s on s.day = c.day where c.month = 2 group by c.day;

-- trap 15
select c.month, count(s.id) from calendar c left join sale s on s.day = c.day and s.kind = 'happy' group by c.month order by c.month;

-- trap 15
select c.day from calendar c left join sale s using (day) where s.id is null order by 1;

-- self-joins
select a.id, b.id from sale a left join sale b on b.id = a.id and b.qty > 10 where a.id < 80;

select a.id, b.id from sale a left join sale b on b.id = a.id + 500 where a.id between 400 and 520;

-- an outer join under an inner one
select c.id, s.id, i.line from customer c left join sale s on s.customer_id = c.id join item i on i.sale_id = s.id where c.id < 30;

select c.id, x.n from customer c left join (select customer_id, count(*) as n from sale group by customer_id) x on x.customer_id = c.id where c.id < 50;

select c.id, x.id from customer c left join (select distinct on (customer_id) customer_id, id from sale order by customer_id, day, id) x on x.customer_id = c.id where c.id < 50;

-- a constant on the nullable side
select c.id, x.one from customer c left join (select customer_id, 1 as one from sale) x on x.customer_id = c.id where c.id < 20;

select s.id, x.one from sale s left join (select id, 'x' as one from region where id < 5) x on x.id = s.qty where s.id < 100;

select count(*) from sale s left join region r on true where s.id < 10;

select r.id, s.id from region r left join sale s on false;

select r.id, s.id from region r left join (select id from sale where id > 5000) s on true;

select count(*), sum(coalesce(i.amount, 0)) from sale s left join item i on i.sale_id = s.id group by s.kind, s.paid;

select s.id, i.line, j.line from sale s left join item i on i.sale_id = s.id and i.line = 1 left join item j on j.sale_id = i.sale_id and j.line = 2 where s.id < 60;

select c.name, sum(i.quantity) from sale s join item i on i.sale_id = s.id right join customer c on c.id = s.customer_id where c.id between 100 and 150 group by c.name order by c.name;
