-- UNION, INTERSECT, EXCEPT, with and without ALL, nested, sorted and limited.

-- arm: union
select id from sale where qty = 1 union all select sale_id from item where quantity = 9;

-- shipped 2
select kind from sale union select state from reading;

-- shipped 2
select customer_id, paid from sale where id < 100 union select customer_id, paid from sale where id >= 50;

-- trap 15: of a sharded and a replicated table
select id from sale where id < 20 union all select id from region;

-- trap 15
select name from region union select name from customer union select city from sale;

-- arm: single
select id from region union select id from product;

-- trap 7: NULLs are equal
select visitor from visit union select visitor from profile;

-- representative
-- trap 8
select rate from sale union select drift from reading;

-- representative
-- trap 8
select status from sale union select code from region;

select customer_id from sale intersect select id from customer where vip;

select id from customer except select customer_id from sale;

select customer_id from sale except select id from customer;

select customer_id from sale except all select id from customer;

select customer_id from sale intersect all select customer_id from profile;

-- arm: union
select id from sale except select sale_id from item;

-- arm: union
select id from sale intersect select sale_id from item where amount > 300;

select sale_id from item except all select id from sale;

select qty from sale intersect select line from item;

select n from visit where n < 30 intersect select id from sale where paid;

select id, 'sale' as source from sale where id < 5 union all select id, 'region' from region where id < 5 order by id, source;

select id from sale union all select sale_id from item order by 1 limit 20;

select id from sale union select sale_id from item order by 1 desc limit 10 offset 3;

(select id from sale order by price desc nulls last, id limit 5) union all (select sale_id from item order by amount desc nulls last, sale_id, line limit 5);

(select id from sale where kind = 'ok' order by id limit 3) union all (select id from sale where kind = 'sad' order by id limit 3) order by 1;

select count(*) from (select id from sale union all select sale_id from item) u;

select count(*) from (select id from sale union select sale_id from item) u;

select kind, count(*) from (select kind from sale union all select state from reading) u group by kind;

select max(day), count(*) from (select day from sale union all select day from calendar) u;

select kind, count(*) from sale group by kind union all select null, count(*) from sale order by 2, 1;

select 'sales' as what, count(*) from sale union all select 'items', count(*) from item union all select 'regions', count(*) from region;

(select id from sale where id < 10 union select id from sale where id between 5 and 15) except select 7;

select id from sale where id < 10 union (select id from sale where id between 5 and 15 except select 7);

select id from sale where id < 10 union all select id from sale where id < 5 intersect select id from sale where id > 2;

select 1 as n union all select qty from sale where id < 10;

select null as n union all select id from sale where id < 5;

-- types are unified, columns are named by the first
select id as a, qty as b from sale where id < 5 union all select sale_id, amount from item where sale_id < 3;

select line as x from item where sale_id < 9 union select price from sale where id < 9;

values (1, 'a'), (2, null) union all select id::int4, note from sale where id < 5;

table region union all table region;

select s.id from sale s join item i on i.sale_id = s.id union select id from sale where qty > 15;

select id from sale where id in (select sale_id from item union select 900) and id > 890;

select a.id from (select id from sale except select sale_id from item) a join sale s on s.id = a.id where s.paid;

select x.id, count(*) from (select id from sale where id < 50 union all select sale_id from item where sale_id < 50) x group by x.id having count(*) > 3;

select distinct kind from (select kind from sale union all select kind from sale) u;

select city collate "C" from sale where id < 50 union select name collate "C" from region order by 1;

-- error: 42601
select id from sale union select id, qty from sale;

select exists (select id from region except select customer_id from sale);

select id from sale where false union all select id from region where id = 1;

select d, f8 from zoo where k < 40 union select d, f8 from zoo where k > 200 and f8 <> 0;

-- Sets below and beside those that keep every row.
select kind::text from sale union select code from region union all select 'x';

select status from sale intersect select code from region union all select 'x';

select status from sale except select code from region union all select status from sale where id < 9;

select qty from sale union all (select quantity from item intersect select id from region);
