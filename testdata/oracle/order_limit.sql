-- ORDER BY, LIMIT, OFFSET, FETCH.

-- arm: ordered
select id, qty from sale order by id;

-- arm: ordered
select id from sale order by id desc limit 10;

-- arm: ordered
-- shipped 5
select id from sale order by id limit 10 offset 25;

-- arm: ordered
-- trap 11
select id, qty from sale order by qty, id;

-- arm: ordered
-- trap 11
select id, qty from sale order by qty desc, id;

-- trap 11
select id, qty from sale order by qty nulls first, id;

-- trap 11
select id, qty, kind from sale order by qty desc nulls last, kind nulls first, id desc;

-- trap 10, shipped 8
select id, note, city from sale order by city, id;

-- trap 10, shipped 8
select id, tx from (select k as id, tx from zoo) z order by tx, id;

-- trap 10
select k, ti from zoo order by ti desc, k;

-- trap 10
select k, tc from zoo order by tc, k;

-- trap 10
select id, city from sale order by city collate "C" desc nulls last, id limit 60;

-- trap 10
select id from sale order by lower(note) collate "de-x-icu", id limit 60;

-- trap 8
select k, tn from zoo order by tn, k;

-- trap 8
select k, ci from zoo order by ci, k;

-- trap 8
select k, bp from zoo order by bp, k;

-- trap 9
select k, f8 from zoo order by f8, k;

-- trap 9
select k, f4 from zoo order by f4 desc, k;

-- trap 9
select k, num from zoo order by num, k;

-- trap 9
select k, d from zoo order by d, k;

-- trap 9
select k, ts, tt from zoo order by ts desc nulls last, tt, k;

-- trap 8
select k, iv from zoo order by iv, k;

-- trap 22
select k, en from zoo order by en, k;

select k, tm, tz from zoo order by tm, tz, k;

select k, uu, by from zoo order by by, uu, k;

select k, ip, ci4, mac from zoo order by ip, ci4, mac, k;

select k, ia from zoo order by ia, k;

select k, ta from zoo order by ta desc, k;

select k, jb from zoo order by jb, k;

select k, comp from zoo order by comp, k;

select k, r4, mr from zoo order by r4, mr, k;

select k, bi, vb, bo from zoo order by vb, bi, bo, k;

select k, cash, oi, dec from zoo order by cash, oi, dec, k;

select k, ec, nm from zoo order by ec, nm, k;

-- arm: ordered
-- shipped 4: a key that is not in the output
select id from sale order by price desc nulls last, id;

-- shipped 4
select note from sale order by price, id limit 40;

select id, price * qty as total from sale order by total desc nulls last, id limit 20;

select id from sale order by price * qty, id limit 20;

select id, qty from sale order by 2, 1 limit 30;

select id as qty, qty as id from sale order by qty limit 10;

select -id as id from sale order by id limit 10;

select id from sale order by -id limit 10;

select id from sale order by paid, kind desc, day, id limit 30;

select id from sale order by paid is null, coalesce(qty, 100), id limit 30;

select id from sale order by case kind when 'ok' then 0 when 'sad' then 1 else 2 end, id limit 30;

-- arm: ordered
select s.id, i.line from sale s join item i on i.sale_id = s.id order by i.amount desc nulls last, s.id, i.line limit 15;

select s.id, c.name from sale s left join customer c on c.id = s.customer_id order by c.name nulls first, s.id limit 30;

-- trap 12
select kind, count(*) as n from sale group by kind order by n desc, kind limit 2;

-- trap 12
select customer_id, sum(price) from sale group by customer_id order by sum(price) desc nulls last, customer_id limit 5;

-- trap 12
select customer_id from sale group by customer_id order by count(*) desc, max(price) desc, customer_id limit 5 offset 2;

-- trap 12
select city, count(*) from sale group by city order by city limit 3;

-- subset of: select id from sale
-- trap 12, shipped 5
select id from sale limit 7;

-- subset of: select id from sale
-- shipped 5
select id from sale limit 7 offset 995;

-- subset of: select id from sale where paid
select id from sale where paid offset 20;

-- subset of: select id, qty from sale
select id, qty from sale limit 100000;

select id from sale limit 0;

select count(*) from (select id from sale limit 50) x;

select id from sale order by id limit 0;

select id from sale order by id limit all offset 990;

select id from sale order by id offset 995;

select id from sale order by id offset 5000;

select id from sale order by id limit null;

select id from sale order by id fetch first 3 rows only;

select id from sale order by id offset 2 rows fetch next row only;

-- unordered
-- trap 12
select qty, id from sale order by qty desc nulls last fetch first 10 rows with ties;

-- unordered
select quantity, count(*) from item group by quantity order by quantity / 4 fetch first 2 rows with ties;

select id from sale order by id limit 2 + 3;

select id from sale order by id limit (select count(*) from region);

select id from sale order by id limit (select count(*) / 200 from sale) offset (select 1);

-- error: 2201W
select id from sale order by id limit -1;

-- error: 22P02
select id from sale order by id limit 'x';

select x.id from (select id from sale order by price desc nulls last, id limit 30) x order by x.id;

-- ordered
select x.id from (select id from sale order by id limit 10) x;

select id from sale where id < 20 order by id using >;

select max(id) from sale order by 1;

select count(*) from sale order by max(qty);

-- arm: single
select id, name from customer order by name collate "C", id limit 5;

select device, seq from reading order by taken, device limit 30;

select device, seq from reading order by value, device, seq limit 60 offset 250;

select n from visit order by started desc, n limit 20;

select n, fee from visit order by fee desc, n limit 20;

select n, span from visit order by span nulls first, n limit 250;

-- Parentheses around a whole query: what is written behind them belongs to it.
(select id from sale order by id desc) limit 3;

(select id from sale order by id desc);

(select id from sale limit 300000) order by id desc;

(select id from sale order by id desc) offset 3;

((select id from sale) order by id desc) limit 3;

(with x as (select id from sale) select id from x order by id desc) limit 2;

with x as (select id from sale) (select id from x order by id desc limit 3);

(select id from sale union select sale_id from item order by 1 desc) limit 4;

(select customer_id, count(*) from sale group by customer_id order by 2 desc, 1) limit 3;

select x.id from ((select id, qty from sale order by id desc) limit 3) x order by 1;

select id from region where id in ((select id from sale order by id desc) limit 30);

select array((select id from sale where id < 30 order by id desc));

-- The order by a name that the select list has otherwise.
select id as a from sale order by sale.id limit 5;

select s.id as a from sale s order by id limit 5;

select distinct id as a from sale order by sale.id limit 5;

select id, count(*) from sale group by sale.id order by sale.id limit 5;

select upper(code), id from sale order by upper(sale.code), sale.id limit 9;

-- No limit at all.
select id from sale order by sale.id offset 0;

select id from sale order by id limit all offset 0;

select id from sale order by id limit null offset 0;

select qty + 1 from sale order by id limit null;

select distinct id from sale order by id offset 0;

-- Copies in the order of a unique key have the same first rows everywhere.
-- arm: union | ordered
select s.id, c.name from sale s join (select id, name from customer order by id limit 20) c on c.id = s.customer_id order by s.id;

-- arm: union | ordered
select id from sale where customer_id in (select id from customer order by id desc offset 3 limit 20) order by id;

-- arm: union | ordered
select s.id, (select day from calendar order by day desc limit 1) from sale s where s.id < 20 order by 1;

-- arm: union | ordered
select s.id from sale s, (select x.a, x.b from region as x(a, b) order by b, a limit 3) r where r.a = s.id order by 1;

-- Not in the order of one.
select s.id, c.name from sale s join (select id, name from customer order by region_id, credit, id limit 20) c on c.id = s.customer_id order by s.id;

select s.id from sale s, (select region_id from customer group by region_id order by region_id limit 3) r where r.region_id = s.id order by 1;

select s.id from sale s, (select c.id from customer c, region r order by c.id, r.id limit 30) r where r.id = s.id order by 1;

-- As a parameter is written.
-- arm: ordered
select id from sale order by id limit (E'3'::int8) offset (E'0'::int8);

select distinct kind from sale order by kind limit E'2'::int8;

select id from sale order by id desc offset (E'2'::int8) rows fetch next (E'3'::int8) rows only;

select x.id from (select id from sale order by id fetch first (1 + 2) row only) x order by 1;

select id from sale order by qty, id limit E'4'::int8 offset E'2'::int8;

-- Columns without a name, in a query that another one reads.
select * from (select id + 1, id from sale order by id limit 5) z order by 2;

select * from (select distinct qty + 1 from sale) z order by 1;

select * from (select qty + 1 from sale union select 3) z order by 1;

with z as (select qty + 1, count(*) from sale group by 1) select * from z order by 1;

select * from (select 'x', id from sale order by id limit 3) z order by 2;

select * from (select (select max(qty) from sale), (select s.note from sale s order by s.id limit 1), id from sale order by id limit 3) z order by 3;

select * from (select sum(qty) + 1, count(*) from sale) z;

select z.* from (select id, (select max(id) from sale) from region) z order by 1;

select z."exists", z.id from (select exists (select 1 from sale where qty > 3), (select max(line) from item where sale_id < 5) is null, id from region) z order by 2;

select * from (select array(select id from sale order by id limit 3), (select max(qty) from sale) + 1, count(*) from sale) z;
