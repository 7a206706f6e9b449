-- EXISTS, IN, ANY, ALL, and their negations with NULLs.

-- arm: union
select id from sale s where exists (select from item i where i.sale_id = s.id and i.amount > 400);

-- arm: union
select id from sale s where not exists (select 1 from item i where i.sale_id = s.id);

-- arm: union
select sale_id, line from item i where not exists (select from sale s where s.id = i.sale_id);

-- arm: union
select id from sale where id in (select sale_id from item where product_id = 7);

-- arm: union
select id from sale where id not in (select sale_id from item where amount > 100);

-- trap 15
select id from customer c where exists (select from sale s where s.customer_id = c.id and s.price > 900);

-- trap 15, shipped 14
select id from customer c where not exists (select from sale s where s.customer_id = c.id);

-- trap 15
select count(*) from customer c where id in (select customer_id from sale where kind = 'happy');

-- trap 15: NOT IN a list with a NULL is never true
select count(*) from customer c where id not in (select customer_id from sale);

-- trap 15
select count(*) from customer c where id not in (select customer_id from sale where customer_id is not null and price > 500);

-- arm: union
select id from sale where customer_id in (select id from customer where vip);

-- arm: union
select id from sale where customer_id not in (select id from customer where vip);

-- arm: union
select id from sale s where exists (select from customer c join region r on r.id = c.region_id where c.id = s.customer_id and r.parent = 2);

-- shipped 10: the list is on several shards
select id from sale where qty in (select seq from reading where device = 'dev-3');

-- shipped 10
select n from visit where sale_id in (select id from sale where price > 900);

-- shipped 10
select n from visit where sale_id not in (select id from sale where paid);

select count(*) from visit v where exists (select from sale s where s.id = v.sale_id and s.paid);

select count(*) from sale s where not exists (select from visit v where v.sale_id = s.id);

select id from sale s where exists (select from sale t where t.customer_id = s.customer_id and t.id <> s.id and t.day = s.day);

select id from sale where id in (select sale_id from item group by sale_id having sum(amount) > 800);

select id from sale where id in (select sale_id from item group by sale_id having count(*) = 4) and kind = 'ok';

select id from sale where kind in (select kind from sale group by kind having count(*) > 150) and id < 60;

select id from sale where (customer_id, kind) in (select customer_id, kind from sale where price > 940);

select id from sale where (id, 2) in (select sale_id, line from item where amount > 450);

select sale_id, line from item where (sale_id, amount) in (select sale_id, max(amount) from item group by sale_id) and sale_id < 60;

select id from sale where price > all (select amount from item where sale_id < 20 and amount is not null);

select id from sale where price >= all (select price from sale where price is not null);

select id from sale where price < any (select price from sale where id in (1, 2, 3)) and id < 100;

select id from sale where qty = any (array[1, 5, 9]) and id < 100;

select id from sale where id = any ('{3,5,700,99999}');

select id from sale where qty <> all ('{1,2,3}') and id < 30;

select id from sale where kind = any (select state from reading where temp > 10) and id < 50;

select r.name, exists (select from sale s join customer c on c.id = s.customer_id where c.region_id = r.id) from region r;

select id, exists (select from item where sale_id = id) as has_items from sale where id < 60;

select id, id in (select sale_id from item), qty in (select line from item) from sale where id < 40;

select count(*) filter (where exists (select from item i where i.sale_id = s.id)) from sale s;

select c.id, c.id in (select customer_id from sale where price > 800) from customer c where c.id < 30;

select exists (select from sale), exists (select from sale where id > 5000), not exists (select from item where amount > 499);

select id from sale where exists (select from reading where device = 'dev-1') and id < 5;

select id from sale where not exists (select from reading where device = 'nothing') and id < 5;

select id from sale where id in (select sale_id from item where amount = (select max(amount) from item));

select v.n from visit v where v.visitor in (select visitor from profile where age > 60);

select v.n from visit v where v.visitor not in (select visitor from profile where age > 60);

select p.visitor from profile p where p.visitor not in (select visitor from visit);

select p.visitor from profile p where not exists (select from visit v where v.visitor = p.visitor);

select count(*) from visit where visitor in (select visitor from visit group by visitor having count(*) > 9);

select id from sale where null in (select id from item);

select id from sale where id in (select 5 union select 6);

select id from sale where id in (select id from sale where id < 10 except select sale_id from item);

select s.id from sale s where s.id in (select i.sale_id from item i where i.quantity = s.qty);

select count(*) from item where product_id in (select id from product where price > (select avg(price) from product));

select count(*) from item where amount > some (select price * 2 from product where category = 'toy');

select device, seq from reading r where not exists (select from reading q where q.device = r.device and q.seq > r.seq);

select count(*) from zoo a where exists (select from zoo b where b.bp = a.bp and b.k > a.k) and a.num in (select num from zoo where k > 100);
