-- Views: over replicated tables, over sharded ones, aggregating, nested.

-- arm: single
select * from customer_region;

-- arm: union
select * from paid_sale;

-- arm: union
select id, price from paid_big;

-- arm: union
select id, line, net from sale_item where status = 'paid';

-- arm: union
select * from sale_total where total > 600;

select * from status_total;

select status, revenue from status_total where sales > 100 order by status;

select * from top_status;

select count(*), sum(price) from paid_sale;

-- arm: combine
select city, count(*), avg(price) from paid_sale group by city;

-- arm: union
select s.id, t.lines, t.total from sale s join sale_total t on t.id = s.id where s.paid;

-- arm: union
select s.id, t.total from sale s left join sale_total t on t.id = s.id;

select count(*), sum(t.total) from paid_sale p join sale_total t using (id);

-- arm: union
select * from customer_sale where price > 800;

select region, count(*), sum(price) from customer_sale group by region;

select s.id, c.region, c.parent from sale s join customer_region c on c.id = s.customer_id where s.id < 100;

-- trap 15
select * from customer_history;

-- trap 15
select count(*) from customer_history where sales = 0;

select * from first_sale;

select f.id, i.line from first_sale f join item i on i.sale_id = f.id;

select id from sale where id in (select id from first_sale);

select count(*) from any_name;

select name from any_name where name < 'D' order by name collate "C" limit 12;

select * from ranked_sale where place <= 2;

select "Id", "qty qty", "select" from "Odd View" where "Id" < 10;

select "Odd View"."select" from "Odd View" order by "Id" limit 5;

select o.* from "Odd View" o where o."Id" between 3 and 9;

select p.id from paid_sale p where exists (select from sale_item i where i.id = p.id and i.net > 400);

select s.id from sale s where not exists (select from paid_sale p where p.id = s.id) and s.id < 50;

select c.name, p.id from customer c left join paid_sale p on p.customer_id = c.id where c.id < 20;

select public.paid_sale.id from public.paid_sale order by id limit 3;

with paid_sale as (select 1 as id) select * from paid_sale;

select a.id from paid_sale a join paid_sale b on a.id = b.id join paid_big c on c.id = a.id;

select * from sale_total order by total desc nulls last, id limit 5;

select max(total) from sale_total;

select lines, count(*) from sale_total group by lines order by lines;

select t.status, s.id from top_status t join sale s on s.status = t.status where s.id < 30;

-- error: 42P01
select * from pale_sale;
