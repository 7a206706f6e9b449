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

select * from generate_series(1, 2) as d cross join item join (select id as sale_id from sale) s using (sale_id) order by 1, 2, 3 limit 3;

-- Joins whose condition comes behind another join.
select s.id, i.line, p.name from sale s left join item i join product p on p.id = i.product_id on i.sale_id = s.id where s.id < 60 order by 1, 2, 3;

select count(*), count(i.line), count(p.id) from sale s left join item i left join product p on p.id = i.product_id on i.sale_id = s.id;

select c.id, s.id, i.line from customer c left join sale s join item i on i.sale_id = s.id on s.customer_id = c.id where c.id < 20 order by 1, 2, 3;

select r.id, c.id, s.id from region r left join customer c full join sale s on s.customer_id = c.id on c.region_id = r.id order by 1, 2, 3;

select count(*) from sale s join customer c cross join region r on c.id = s.customer_id and r.id = c.region_id;

-- No table inherits from these.
select count(*), sum(o.id) from only sale o join only (customer) c on c.id = o.customer_id;

select id from only region order by id;

select count(*) from sale *, region * r where r.id = sale.id;

select id, qty between symmetric 9 and 2, qty not between symmetric 5 and 1 + 1, qty between asymmetric 9 and 2 from sale where id between symmetric 40 and 1 order by id;

select count(*) from sale where day between symmetric '2024-06-30' and '2024-03-01';

select count(*) from visit where started between symmetric 'today' and '2024-03-01';

select id from customer where id between symmetric 30 and 25 and joined between symmetric 'tomorrow' and '2020-01-01' order by id;

select status, concat_ws('-', variadic array[status::text, min(code), 'x']), format('%s/%s', variadic array_agg(id::text order by id)) from sale where id < 20 group by status order by 1, 2;

select trim(from note), trim(both from note || ' '), trim(leading from ' ' || note), trim(trailing from note) from sale where id < 12 order by sale.id;

select substring(note similar 'note #"[0-9]+#"' escape '#'), count(*) from sale where id < 40 group by 1 order by 1;

select collation for (code), collation for (city), count(*) from sale group by 1, 2;

select sum(qty) over (order by started range between '1 day'::interval preceding and '2 hours'::interval following exclude no others), n from visit, (select 1 as qty) q where started is not null order by n;

select device, seq, count(*) over (partition by device order by taken range between '90 minutes'::text::interval preceding and current row) from reading order by device, seq;

select status, kind, count(*), grouping(status, kind) from sale group by grouping sets (rollup (status, kind), grouping sets ((kind), ())) order by 4, 1, 2;

select paid, status, sum(qty), grouping(paid, status) from sale group by grouping sets (cube (paid, status), ()) order by 4, 1, 2;

select count(*) from sale where qty = any (values (1), (2), (5));

select id, (values (1)), qty > all (values (3), (4)) from sale where id < 12 order by id;

select count(*) from sale where status = some (values ('new'), ('paid')) and code <> all (values ('a'));

select count(*) from customer where id = (values (5)) or region_id = any (values (2), (3));

select count(*) from reading where doc @> any (array['{"k": 1}', '1.00']::jsonb[]);

select device, count(*) from reading where 'y' operator(pg_catalog.>) all (tags) group by device order by device;

select count(*) filter (where comp *= (1, 'x')::pair), count(*) filter (where comp *<> (1, 'x')::pair) from zoo;

select id from sale where id operator(pg_catalog.<=) 3 and id operator(pg_catalog.<>) all (select 1) order by id;

select top, format('%s', top), sort from (select id as top, qty as sort from sale) as sample where top < 9 order by top;

select pivot.id minus from sale pivot join item qualify on qualify.sale_id = pivot.id where pivot.id < 9 order by 1;

select interval(0) '1.6 sec' + span, name 'x', pg_lsn '0/16' > '0/1' from visit where n < 9 order by n;

select x, y from json_to_record('{"x": 1, "y": "a"}') as (x int, y text);

select s.id, json_to_recordset.a from sale s, json_to_recordset('[{"a": 1}, {"a": 2}]') as (a int) where s.id = json_to_recordset.a order by 1;

select count(*) from sale, position('b' in 'abc') as p where sale.id = p;

-- All fields of a row.
select (c).* from customer c where id < 9 order by id;

select (s).* from sale s where s.id < 9 order by s.id;

select ((s)).*, (s).id from sale s where s.id between 4 and 6 order by s.id;

select k, (comp).* from zoo where k < 9 order by k;

select (comp).*, (comps)[1].* from zoo where k < 9 order by k;

select count(*) from (select (comp).* from zoo) x where x = x;

select (c).* from (select comp as c, count(*) from zoo group by comp) x order by 1, 2;

select distinct (comp).* from zoo order by 1, 2;

select (comp).* from zoo union select 1, 'x' order by 1, 2;

select (s).* from (select id, qty from sale) s where id < 9 order by id;

select (json_populate_record(null::pair, '{"x": 1, "y": "a"}')).*, id from region order by id;

-- refused: all fields of a row
select k from zoo where row((comp).*) = row(1, 'x');

-- DISTINCT FROM is no FROM.
select id, qty is distinct from id * qty, id * qty, position('n' in note) from sale where note is distinct from 'x' and id < 9 order by id;

select count(*) from sale s join item i join product p on p.id is not distinct from i.product_id on i.sale_id = s.id and s.qty is distinct from i.quantity * p.id;

select s.id from sale s join item i on i.sale_id = s.id and i.line is distinct from s.qty * 2, region r where r.id = s.id order by 1;

-- LIKE of many patterns: ~~ with a quantifier.
select count(*) from product where name like any (array['A%', '%9']) and name not ilike all (array['b%', 'z%']);

select id, name ilike all (array['%a%', '%n%']), name not like some ('{A%,Z%}'), not name like any (array['%1']) from product order by id;

select count(*) from sale where note like any (select name || '%' from region) or note not like all (values ('x%'), ('y%'));

select note like all (array[note, '%']) or qty > 3, count(*) from sale group by 1 order by 1;

select id from sale where note || 'x' like any (array['%x', note]) = true and id < 9 order by id;

select id from sale where qty = any ((select qty from sale where paid) union (select 3)) and id < 200;

select id from sale where qty > all ((select 2) except (select max(qty) from sale));

select id from sale where qty <> all ((select id from region where parent = 1) intersect all (select line from item)) and id < 50;
