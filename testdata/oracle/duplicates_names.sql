-- Names of output columns: none, the same twice, odd ones.

-- trap 24, shipped 3
select count(*), count(*), sum(qty), sum(id) from sale;

-- trap 24, shipped 3
select id, id, qty as id from sale where id < 20;

-- trap 24, shipped 3
select 1, 2, 'x', id + 1, qty + 1 from sale where id < 5;

-- trap 24
select kind, kind, count(*), count(qty) from sale group by kind;

-- trap 24
select a.*, b.* from (select id, qty from sale where id < 20) a join (select id, qty from sale) b on a.id = b.id;

-- trap 24
select s.id, i.sale_id as id, i.line as id from sale s join item i on i.sale_id = s.id where s.id < 9 order by s.id, i.line;

-- trap 24
select max(qty) as m, min(qty) as m, max(price) m from sale;

-- trap 24
select qty as "a b", price as "Ä", note as "quo""te", id as "select", day as "count" from sale where id < 5;

-- error: 42601
select qty as "", id from sale where false;

select "count", "sum" from (select count(*), sum(qty) from sale) x;

select x.a, x.b from (select count(*), sum(qty) from sale) x (a, b);

-- trap 24: what PostgreSQL calls an expression
select upper(note), note::text, note::varchar(3), qty::int8, case when paid then 1 end, case when paid then 1 else qty end, coalesce(qty, 1), exists (select 1), array[1], row(1, 2), (select max(id) from region), id + 1, -qty, not paid, (id), nullif(qty, 1), greatest(1, 2), current_date is null, extract(year from day), substring(note from 1 for 2), trim(note), position('a' in note), interval '1 day', cast(id as text), ('{1,2}'::int4[])[1], (row(1, 2)).f1, 'x' collate "C", null, true, $$x$$ from sale where id < 3;

-- trap 24
select sum(qty) + 1, sum(qty)::text, sum(qty) filter (where paid), count(distinct kind), -count(*), (sum(qty)), round(avg(qty), 1), array_agg(id order by id) is null, case when count(*) > 1 then 1 end, coalesce(sum(qty), 0), (select max(n) from visit) from sale;

-- trap 24
select row_number() over (order by id), sum(qty) over (order by id) + 1, rank() over w as r from sale where id < 5 window w as (order by id);

-- trap 24
select id as a, qty as a from sale where id < 9 order by id;

-- error: 42702
select id as a, qty as a from sale order by a;

select id as "ID", qty as "Qty" from sale where id < 3 order by "ID" desc;

select "id", "sale"."qty" from "public"."sale" where "id" < 3;

select ID, SALE.QTY from SALE where Id < 3;

-- zero columns
select from sale where id < 10;

select from sale;

select count(*) from (select from sale) x;

select * from (select from region) x;

select s.*, s.id from (select id, kind from sale where id < 4) s;

select customer.*, sale.id from sale join customer on customer.id = customer_id where sale.id < 12;

select m1.id, m2.qty from sale m1 join (select id, qty from sale) m2 on m1.id = m2.id where m1.id < 12;

select shards.id, s0.line from sale shards join item s0 on s0.sale_id = shards.id where shards.id < 12;

select m1 from (select id as m1, sum(qty) as a1 from sale group by id) g1 where m1 < 5;

select count(*) as g1, kind as a1 from sale group by kind order by g1, a1;

with m1 as (select max(id) as id from sale), m2 as (select kind, count(*) from sale group by kind) select * from m1, m2;

select (a.a).x, (a).y from (select row(1, 'y')::pair as a from sale where id = 1) a;

select 1 as a, 1 as a, 1 as b union all select 2, 3, 4 union all select line, quantity, 1 from item where sale_id = 6;

select abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz from (select id as abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz from sale where id < 3) x;

-- * over two columns of one name
select * from (select qty, max(id), max(price) from sale group by qty) x order by qty;
select * from (select kind, count(*), count(qty) from sale group by kind) x;
select * from (select * from sale s join item i on s.id = i.sale_id join sale s2 on s2.id = s.id where s.id < 20) x;
select * from (sale s join sale s2 using (id)) as x(key) where key between 1 and 20;
select x.*, 1 as n from (select id as a, qty as a, qty as a_2, line as a from sale join item on id = sale_id) x where x.a_2 = 3;
with w as (select kind, count(*), count(qty) from sale group by kind) select * from w;
with w as (select kind, count(*), count(qty) from sale group by kind) select * from w x join w y on x.kind = y.kind;
with w as (select id, qty as a, price as a from sale order by id limit 7) select x.* from w x, w y;
with recursive w(n, n) as (select 1, 2 union all select 3, 4) select * from w, (select count(*) from sale) x;
select * from region as r(a, a, b, b), (select count(*), count(qty) from sale) x;
select y.* from (select x.* from (select id, qty, qty from sale) x where x.id > 3) y where y.id < 100;
select * from (select paid, sum(qty), sum(qty) filter (where id > 5) from sale group by paid) x union all select true, 1, 2;
select * from customer c join lateral (select count(*), count(qty) from sale s where s.customer_id = c.id) x on true where c.id < 20;
select count(x), count(x.*) from (select qty, max(id), max(price) from sale group by qty) x;
-- refused: whole row
select x, x.* from (select qty, max(id), max(price) from sale group by qty) x;
