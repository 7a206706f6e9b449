-- Ways to write what PostgreSQL also knows in another way, and which relations an expression names.

table region order by 1;

table sale order by id limit 3;

with x as (table region) table x order by id;

select count(*) from (table item) as i;

select id from (table customer union all table customer) as both_of_them order by id, 1 limit 4;

select exists (table sale), not exists (table item);

select count(*) table from sale;

select id, qty from sale order by qty using >, id using < limit 7;

select qty, count(*) from sale group by qty order by qty using < nulls first;

select array_agg(id order by id using >) from sale where id < 20;

select count(*) from sale where qty isnull;

select count(*) from sale where (qty isnull) = (note notnull);

select count(*) filter (where qty + 1 isnull and note notnull), count(distinct qty isnull) from sale;

select 'a'
  'b' || status, count(*) from sale group by status, 1 order by 1;

select count(*) from sale where status = U&'\006eew' or note = U&'!006e' uescape '!';

select U&"\0069d" from sale where id < 4 order by U&"!0069d" uescape '!';

select $q$$a$$q$ || id, $$it's$$, $foo$the $bar$ content$foo$ from sale where id < 4 order by id;

select E'a'
  '\x41' || id, b'1'
  '0', e'tab\x09' from sale where id < 3 order by id;

-- the frame's bound is a literal without a type
select id, count(*) over (order by day range '2 days' preceding) from sale where id < 60 order by id;

select id from sale order by id offset 2 rows fetch next 3 rows only;

with x as (select id from sale union all select -1) select * from x order by id fetch first row only;

select qty from sale order by qty fetch first 4 row with ties;

select v.id::dec(5,2), int4 '7', float8 '1e3', 'x'::char(3), v.id::int8::bit(4) from sale as v where id = 12;

-- rows as a whole of outer queries

select c.id from customer c
where (select count(*) from sale s where s.customer_id = c.id and num_nulls(c.*) = 0) > 2 order by 1;

select c.id, (select count(*) filter (where s.qty > num_nulls(c.*)) from sale s where s.customer_id = c.id)
from customer c order by 1 limit 20;

select c.id, (select max(s.qty) from sale s where s.customer_id = c.id and row(c.*) is not null)
from customer c order by 1 limit 20;

select c.id, (select count(*) from sale s where s.customer_id = c.id and c is not null)
from customer c order by 1 limit 20;

select c.id, (select sum(s.qty + num_nulls(c.*)) from sale s where s.customer_id = c.id)
from customer c order by 1 limit 20;

select c.id, (select count(*) from sale s where s.customer_id = c.id group by num_nulls(c.*) > 0)
from customer c order by 1 limit 20;

select c.id, n.n from customer c, lateral (select count(*) as n from sale s where s.customer_id = c.id and num_nonnulls(c.*) > 5) n
order by 1 limit 20;

select c.id, exists (select 1 from item i where i.product_id = c.id and num_nulls(c.*) = 0) from customer c order by 1 limit 20;

select c.id, (select string_agg(s.id::text, ',' order by num_nulls(c.*), s.id) from sale s where s.customer_id = c.id)
from customer c order by 1 limit 20;

-- the name of a column that is also that of a relation
select c.id as s from customer c where exists (select s.id as c from sale s where s.customer_id = c.id order by c) order by s limit 9;

-- distinct values beside plain aggregates

-- arm: combine
select status, count(distinct customer_id), count(*) filter (where note::text collate "C" < 'm') from sale group by 1;

-- arm: combine
select status, count(distinct customer_id), sum(case when note::text collate "C" < 'm' then qty end) from sale group by 1;

-- arm: combine
select status, count(distinct customer_id), max((note || 'x') collate "C"), count(coalesce(note, 'q') collate "C") from sale group by 1;

-- arm: combine
select status, count(distinct customer_id), sum((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((qty)))))))))))))))))))))))))))))))))))))))))))))))))))))))))))) from sale group by 1;

-- a distinct value that PostgreSQL finds equal to the key
-- arm: combine
select qty, count(distinct qty::int4), count(*), sum(id) from sale group by qty;

-- arm: combine
select qty::int4, count(distinct qty), count(*), sum(id) from sale group by qty::int4;

-- arm: combine
select day, count(distinct date(day)), count(distinct day::date), count(*) from sale group by day;

select status, sum(distinct qty), count(distinct qty::int4), count(*), count(distinct (qty, day)) from sale group by status;

select 'distinct'::text || status, count(distinct qty), count(*) from sale group by 1;

select count(distinct (qty, 'it''s'::text, E'a\\b'::text)), count(*) from sale;

select qty, count(distinct qty::int4), count(*) from sale group by rollup (qty);

-- EXISTS that is the same for all rows

select exists (select 1 from sale), exists (select 1 from sale where false), not exists (select * from item);

select count(*) from customer where exists (select s.* from sale s where s.qty > 3);

select count(*) from item where exists (select distinct qty, note from sale where qty > 3 order by note);

select count(*) from item where not exists (select id / 0 from sale);

select count(*) from item where exists (select id from sale where qty > 100000);

select exists (select id from sale union all select id from customer), exists (select id from sale where false union select line from item);

select exists (select id from sale where false union all (select id from sale where false limit 3)), exists (select id from sale intersect select -5);

select exists (select count(*) from sale where false), exists (select 1 from sale having count(*) > 100000), exists (select 1 from sale where false order by count(*));

select exists (select qty from sale group by qty having count(*) > 1), exists (select 1 from sale group by qty having count(*) > 100000);

select exists (select 1 from sale offset 100000), exists (select 1 from sale limit 0), exists (select 1 from sale offset 3), exists (select distinct status from sale offset 100);

select exists (select generate_series(1, 0) from sale), exists (select generate_series(1, 2) from sale);

select count(*) from sale where exists (select 1 from item where quantity > 2) and id in (select sale_id from item where line = 1);

select id, (select qty from sale order by id limit 1) from customer where exists (select row_number() over () from sale) order by id limit 3;

select count(*) from sale s where exists (select 1 from item where exists (select 1 from visit) and product_id > 3);

-- USING beside a function in FROM, whose columns only the server knows

select d, shop.status, count(sale.id) from generate_series(1, 4) as d cross join (select distinct status from sale) as shop
left join sale using (status) where sale.id is null or sale.id % 4 + 1 = d group by d, shop.status order by 2, 1;

select d, status, count(*) from generate_series(1, 2) as d cross join sale left join (select distinct status, kind from sale) x using (status, kind) group by d, status order by 2, 1;

select sale_id, count(*) from generate_series(1, 2) d cross join item full join (select id as sale_id from sale) s using (sale_id) group by sale_id order by 1 limit 9;

-- refused: a join by the names of columns of a function
select * from generate_series(1, 2) as d cross join item join (select id as sale_id from sale) s using (sale_id) order by 1, 2, 3 limit 3;
