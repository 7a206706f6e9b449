-- One more case, or the first, for each trap and each wrong result of others.

-- trap 1: a sum of counts is a bigint
select sum(n), pg_typeof(sum(n)), count(*) from (select count(*) as n from sale group by kind) x;

-- trap 2: averages of averages
select avg(price), avg(qty), avg(id), sum(price) / count(price) from sale;

-- trap 3: a sum of real in real
-- tolerance: 1e-6
select sum(f::float4), avg(f::float4), corr(f::float4, id) from (select id, id / 7.0 as f from sale) x;

-- trap 4: variances about large means
select variance(1000000000 + qty), stddev(qty + 0.5), var_pop(price * 1000000) from sale;

-- trap 5: sums of doubles in any order are near
-- tolerance: 1e-9
select sum(f), avg(f) from (select case id % 3 when 0 then 1e8 when 1 then 1e-8 else 0.1 end as f from sale) x;

-- trap 5
select kind, sum(ratio), avg(factor) from sale group by kind;

-- trap 6: no shard, one row
select count(*), sum(qty), count(distinct kind), bool_or(paid), array_agg(id) from sale where id in (99997, 99998);

-- trap 7: one group of NULLs
select customer_id, kind, paid, count(*) from sale where customer_id is null group by customer_id, kind, paid;

-- representative
-- trap 8: zeros of both signs are one group
select f8, count(*) from zoo where f8 = 0 group by f8;

-- trap 8
select count(*) from (select distinct iv from zoo) x;

-- trap 9: NaN is the greatest number and equal to itself
select count(*), max(value), count(distinct value) from reading where value = 'NaN' or value > 1e300;

-- trap 9
select value, count(*) from reading where value in ('NaN', 'Infinity', '-Infinity') group by value order by value desc;

-- trap 10: minimum of text under ICU is another one than under C
select min(t), min(t collate "C"), max(t), max(t collate "C") from (select coalesce(code, city) collate "en-US-x-icu" as t from sale) x;

-- trap 11: NULLs come last, descending first
select qty from sale where id < 100 order by qty desc, id limit 15;

-- trap 12: the group that is first overall may be first nowhere
select day, count(*), sum(price) from sale group by day order by sum(price) desc nulls last, day limit 3;

-- trap 13: DISTINCT ON over all shards
select distinct on (status) status, id, price from sale order by status, price desc nulls last, id;

-- trap 14: the average of all shards, not of each
select count(*) from item where amount > (select avg(amount) from item) and quantity >= (select percentile_disc(0.5) within group (order by quantity) from item);

-- trap 15: a replicated table beside sharded ones, in UNION ALL
select 'c' as t, count(*) from customer union all select 's', count(*) from sale union all select 'r', count(*) from region;

-- trap 16: pairs across shards
select count(*) from sale a join sale b on a.day = b.day and a.id < b.id;

-- trap 17: distinct values on several shards
select day, count(distinct customer_id), sum(distinct qty) from sale group by day order by day limit 20;

-- trap 18: totals beside groups of NULL
select customer_id, kind, grouping(customer_id, kind), count(*) from sale where id < 120 group by rollup (customer_id, kind) order by 3, 1, 2;

-- trap 19: sorted aggregates by a column that is not shown
select kind, array_agg(note order by price desc nulls last, id), string_agg(code, '>' order by day desc, id) from sale where id between 200 and 260 group by kind;

-- trap 20: the same settings everywhere
select distinct current_setting('extra_float_digits'), current_setting('IntervalStyle'), current_setting('DateStyle') from sale;

-- trap 21
select distinct extract(timezone from taken), taken::date from reading;

-- trap 22: labels by their own order, under OIDs that differ
select kind, state, count(*) from (select kind, row_number() over (order by id) as n from sale) s join (select state, row_number() over (order by device, seq) as n from reading) r using (n) group by kind, state order by kind, state;

-- trap 23: literals with everything that has to be quoted
select id, 'a''b\c"d{e},(f)' as odd, e'\\ \' \n' as esc from sale where note <> 'x''y' and code is distinct from '\' and id < 5;

-- trap 24
select count(*), sum(qty), count(*) from (select 1 as "?column?", qty from sale) x;

-- trap 25
select sum(qty) / 3, count(*) / 3, avg(qty)::int4, (sum(price) / 3)::numeric(12,1), null || count(*)::text from sale;

-- trap 26: a NOT NULL column is NULL behind an outer join
select c.id, s.id, s.day from customer c left join sale s on s.customer_id = c.id and s.id < 0 where c.id < 15;

-- trap 27: int4 here, int8 there
select id from region union all select id from sale where id < 5 union all select line from item where sale_id < 3;

-- error: 22P02
-- trap 28: only one shard has the row that fails
select case when id = 777 then 'x'::text else '1' end::int4 from sale;

-- trap 29, trap 30: all parts of a query see the same rows of a shard
select (select count(*) from sale) = (select count(*) from sale where id is not null), (select sum(id) from sale) = sum(id), count(*) from sale;

-- shipped 1
select sum(price) - sum(qty), (max(id) - min(id)) / count(*), sum(qty) * 1.0 / count(*) from sale;

-- shipped 2
select distinct kind, status from sale order by kind, status;

-- shipped 3
select sum(qty), sum(price), sum(qty) from sale group by paid;

-- shipped 4
select note from sale where id < 100 order by day desc, id;

-- shipped 5
select id from sale order by day, id limit 5 offset 40;

-- shipped 6
select day, count(*) from sale group by day having count(*) > 2 order by day;

-- shipped 7
select count(price), sum(price), min(day) from sale where note = 'no such note';

-- shipped 8
select city from sale where city is not null order by city, city collate "C" limit 200;

-- shipped 9
select kind, avg(price), stddev(price), var_pop(qty) from sale group by kind;

-- shipped 10
select id from sale where id in (2, 3, 4, 7, 100, 500, 900);

-- shipped 11
select k, num from zoo where num = 'NaN' or num = 'Infinity';

-- shipped 12: no row twice, none missing
select count(*), count(distinct id), min(id), max(id) from (select id from sale union all select null where false) x;

-- shipped 13
select max(at), min(at), max(taken) from sale, reading where sale.id = 5;

-- shipped 14
select r.name, s.id from region r left join sale s on s.qty = r.id and s.id < 0;

-- error: 22012
-- shipped 15
select sum(100 / (id - 333)) from sale;

-- a pin of one colocation group says nothing of another
select s.id, v.n from sale s join visit v on v.n = s.id where s.id = 5;

-- an aggregate in a subquery that belongs to the outer query
select (select sum(s.qty)) from sale s;

-- a limit that counts the rows of all shards, beside a pinned key
select sale_id, line from item where sale_id = 5 limit (select count(*) / 100 from item);

-- merged columns are those of their own join
select s.id, i2.line from sale s join item i on i.sale_id = s.id, item i2 join sale s2 on s2.id = i2.sale_id where i2.sale_id = s.id and s.id < 9;

-- a column of an output is found beside a row that cannot be spelled out
select -id as id, g.* from sale s cross join generate_series(1, 1) g where s.id < 30 order by id;

-- a global subquery inside of an aggregate
select sum(case when price > (select avg(price) from sale) then 1 else 0 end), count(*) filter (where qty > (select avg(qty) from sale)) from sale;

-- a common table expression with a limit, named twice
with w as (select id, note from sale order by id limit 7) select count(*) from w x join w y on x.id = y.id;

-- values that PostgreSQL calls equal are not one in a correlated condition: scale, case, blanks
select c.id, (select count(*) from sale s where scale(s.rate) = c.id), (select count(*) from zoo z where z.num::text = c.id::text) from customer c where c.id < 6;

-- the same, of an equality that takes cases for one
select c.id, (select count(*) from zoo z where (z.tn::text) collate "C" = case c.id when 1 then 'apple' when 2 then 'APPLE' end), (select count(*) from sale s where (s.tag || c.id) collate "C" = 'Red' || c.id) from customer c where c.id < 4;

-- the same in EXISTS
select c.id from customer c where exists (select 1 from zoo z where z.ci::text = case c.id when 1 then 'one' when 2 then 'ONE' when 3 then 'One' end);

-- the same of a type without equality
select c.id, (select count(*) from zoo z where z.js ->> 'a' = c.id::text) from customer c where c.id < 4;

-- a condition that only outer rows complete, on a column that is selected too
select c.id, (select max(s.price + c.id) from sale s where s.customer_id = c.id and s.qty > c.id % 4) from customer c where c.id < 20;

-- rows of replicated tables of the outer query bound those of the subquery
select p.id from product p where p.category = 'toy' and p.price < (select 2 * avg(i.amount) from item i where i.product_id = p.id) order by 1;

-- the same from within an IN
select c.id from customer c where c.region_id in (select r.id from region r where r.name like 'P%' and r.id < (select count(*) from sale s where s.customer_id % 13 = r.id)) and c.id < 100;

-- the same through a left join, whose rows may be missing
select c.id, r.name, (select count(*) from sale s where s.qty = r.id) from customer c left join region r on r.id = c.region_id and r.parent = 2 where c.id < 30;

-- aggregates of the outer query in subqueries, by a whole row, in VALUES, in LIMIT, in ON, in FROM
select (select count(s)) from sale s;

-- in VALUES
select (select x from (values (count(s.id))) v(x)) from sale s;

-- in LIMIT
select (select id from region order by id limit count(s.id) / 200) from sale s where s.id < 300;

-- in ON
select (select count(*) from region d join region r on d.id = max(s.qty)) from sale s;

-- in a function of FROM
select (select max(g) from generate_series(1, count(s.id)::int) g) from sale s;

-- in GROUP BY
select (select count(*) from region d group by (d.id < max(s.qty)) order by 1 limit 1) from sale s;

-- a recursive common table expression of a correlated subquery
select s.id, (with recursive q(n) as (select s.qty union all select n - 5 from q where n > 0) select count(*) from q join item i on i.sale_id = q.n) from sale s where s.id < 30;

-- regr_count over no shards
select regr_count(qty, price), count(qty) from sale where id = 5 and id = 6;

-- one expression, spelled in two ways
select LOWER(note), count(*) from sale group by lower(note);

-- a cast
select qty::text, count(*) from sale group by cast(qty as text);

-- parentheses
select (qty) + customer_id * 2, count(*) from sale group by qty + (customer_id * 2);

-- a collation inside of a derived table
select r, count(*) from (select remark collate "C" as r from item) q group by r order by r;

-- inside of a common table expression
with q as (select remark collate "C" as r from item) select distinct r from q order by r limit 3;

-- in a branch of a set operation
select remark collate "C" as r from item union all select 'zz' order by 1;

-- one that takes cases for equal
select count(*), count(distinct r) from (select remark collate nocase as r from item) q;

-- of a fill
select count(*), lower(max(rpad('q', 4, tag))) from sale group by rpad('q', 4, tag);

-- any of those
select count(distinct lpad(note, 12, tag)) from sale;

-- of the type name
select max(nm), min(nm), max(nm::text) from zoo;

-- a cast to it keeps the text's own
select tx::name, count(*) from zoo group by 1 order by 1;

-- the default one, written
select tag || ('' collate "default"), count(*) from sale group by 1 order by 1;

-- a set operation sorts by the collation of its columns
select code as c from sale union all select code from sale where id < 9 order by c limit 40;

-- and finds duplicates by it
select count(*) from ((select name from profile union all select name from profile where age < 30) union select name from profile where age > 50) x;

-- gathered groups of one expression, spelled in two ways
select LOWER(note), string_agg(id::text, ',' order by id) from sale group by lower(note);

-- a subquery of a text with a collation
select k from zoo where tc = (select min(tc) from zoo);

-- the largest limit beside an offset
select id from sale order by id limit 9223372036854775807 offset 5;

-- keys of DISTINCT ON, spelled in two ways
select distinct on (lower(note)) note, id from sale order by LOWER(note), id;

-- subqueries that look values up: none found is NULL for a sum
select c.id from customer c where coalesce((select sum(s.price) from sale s where s.customer_id = c.id), -1) < 900;

-- and 0 for a count
select c.id, c.region_id from customer c where (select count(*) from sale s where s.customer_id = c.id and s.qty > 12) = 0;

-- by two keys, one of them a text
select p.id from product p, region r where p.weight > (select avg(s.qty) from sale s where s.customer_id = p.id and s.city = r.name) or (select max(s.day) from sale s where s.note = p.name and s.customer_id = r.id) is null and p.id = r.id;

-- by a date, beside another by a number
select k.day from calendar k where k.weekday <= (select count(distinct s.status) from sale s where s.day = k.day) and k.month < (select min(v.score) from visit v where v.score = k.month or v.score is null);

-- by values of another type
select p.id from product p where (select count(*) from sale s where s.rate = p.id) > 0 or (select bool_or(s.paid) from sale s where s.factor = p.weight);

-- inside of each other
select r.id from region r where r.id in (select c.region_id from customer c where c.credit > (select sum(s.qty) from sale s where s.customer_id = c.id)) and r.id < (select count(*) from visit v where v.score = r.parent);

-- no rows at all, merged as numbers and cut
select rate from sale where id > 5000 order by rate offset 1;

-- ON of a LEFT JOIN says nothing of the rows on its left, whichever key it names
select a.id, c.id, b.line from sale a cross join sale c left join item b on b.sale_id = a.id and b.sale_id = c.id where a.id = 5;

-- ON of a LEFT JOIN says nothing of the rows on its left, in a subquery that is pinned from outside
select s.id, (select count(*) from sale c left join item i on i.sale_id = s.id and i.sale_id = c.id) from sale s where s.id = 5;

-- a LEFT JOIN passes a pin on to what it joins, and that to what is joined next
select a.id, b.line, c.qty from sale a left join item b on b.sale_id = a.id left join sale c on b.sale_id = c.id where a.id in (5, 6);

-- a key that is compared with signs and casts of all kinds
select id from sale where id = -(-5) or id = -(-(6)) or id = +7 or id = -(8) or id = -(-(-9)) or id = -3::int2 or id = (-4)::int8;

-- a key beyond its type is no key
select id from sale where id in (99999999999999999999, -99999999999999999999, 5);

-- error: 22003
-- a cast that fails does so even if no shard need be asked
select k from zoo where k = 5000000000::int4;

-- error: 22P02
-- a key that is no number
select id from sale where id = '5x';

-- columns behind f.* that could not be spelled out: 2 is g.value
select distinct on (2) g.*, d.device from reading d, jsonb_each_text(case when jsonb_typeof(d.doc) = 'object' then d.doc end) g where g.value = '1.0' and d.device = 'dev-1';

-- the same, where GROUP BY counts columns
select g.*, count(*) from reading d, jsonb_each_text(case when jsonb_typeof(d.doc) = 'object' then d.doc end) g group by 1, 2;

-- the same, where rows are ordered by a column behind it
select g.*, d.seq from reading d, jsonb_each_text(case when jsonb_typeof(d.doc) = 'object' then d.doc end) g where d.device = 'dev-3' or d.device = 'dev-5' and d.seq > 100 order by d.seq, g.key;

-- the same, where each shard could sort if the key's place were known
select g.*, s.id from sale s, unnest(array[3, 1], array[2, 4]) g where s.id < 9 order by s.id, g.*;
select g.*, s.id from sale s, unnest(array[3], array[2]) g where s.id < 99 order by s.id;

-- a common table expression that stays is no table of its name: a means the table
with a as (select id, name from region), region as (select id, 'zz' as name from region where id in (1, 2) order by id limit 2)
select (select count(*) from sale), x.id, x.name, y.name, z.name from a x left join region y on x.id = y.id left join region z on x.id = z.id;

-- the same beside rows of a sharded table
with a as (select id, name from region), region as (select id, 'zz' as name from region where id in (5, 6) order by id limit 2)
select s.id, x.name, y.name from sale s join a x on s.qty = x.id join region y on y.id = x.id join region z on z.id = y.id;

-- the same in a subquery with a WITH of its own, for what is volatile
with a as (select id, name from region)
select x.* from (with region as (select 1 as id, 'zz' as name, random() as r) select a.id, a.name, region.name as other from a join region on region.id = a.id) x, (select count(*) from sale) q;

-- the same for a recursive one that is named as a sharded table
with a as (select count(*) as n from sale)
select q.* from (with recursive sale as (select 1 as id union all select id + 1 from sale where id < 3) select a.n, sale.id from a, sale) q;

-- a view that chooses rows runs once, however often the expression that reads it is named
with w as (select * from first_sale) select count(*) from w x join w y on x.id = y.id;

-- whichever row LIMIT takes of a replicated table for another replicated row, all shards take the same
select count(*) from (select d.id from customer d cross join lateral (select o.id from customer o where o.region_id = d.region_id limit 1) x
    join sale s on s.customer_id = d.id group by d.id having count(distinct x.id) > 1) y;

-- the same in SELECT, WHERE and a derived table
select count(*) from (select d.id from customer d join sale s on s.customer_id = d.id
    group by d.id having count(distinct (select o.id from customer o where o.region_id = d.region_id offset 1 limit 1)) > 1) y;
select count(*) from (select d.region_id from (select c.region_id, c.id, (select o.id from customer o where o.region_id = c.region_id limit 1) as first from customer c) d
    join sale s on s.customer_id = d.id group by d.region_id having count(distinct d.first) > 1) y;

-- for rows of a sharded table a shard may choose
-- arm: union
select s.id, (select d.name from region d where d.id = s.qty limit 1) from sale s;

-- the name of a column in ORDER BY is no row of a relation of that name
select count(distinct x.id) from sale s join (select vip as s, id from customer where vip order by s limit 1) x on x.s = s.paid;

-- ARRAY(SELECT ..) of a replicated table depends on the order of its rows
select count(distinct a) from (select (array(select id from customer where vip))[1] as a from sale) x;
select count(*) from (select s.id from sale s where s.customer_id = (array(select id from customer where vip))[1]) x where false;
select count(*) from (select u.id, u.o from unnest(array(select id from customer)) with ordinality u(id, o) join sale s on s.customer_id = u.id group by 1, 2) x;
select count(*) from (select x.region_id, count(distinct x.ids) from (select d.region_id, d.id, array(select o.id from customer o where o.region_id = d.region_id) as ids from customer d) x
    join sale s on s.customer_id = x.id group by 1 having count(distinct x.ids) > 1) y;

-- a shard can make an array that is ordered by its own elements
-- arm: union
select s.id, array(select c.id from customer c where c.region_id < 7 order by c.id desc) from sale s where s.qty = 3;

-- as can it of rows that belong to one of its own
-- arm: union
select s.id, array(select i.line from item i where i.sale_id = s.id order by i.line) from sale s where s.qty = 3;

-- an element of an array whose relation is called as a column is
select tags.tags[1], count(*) from reading tags where tags.tags[1] <> '' group by tags.tags[1];
select tags.tags[1], o.tags[2] from reading tags join reading o on o.device = tags.device and o.seq = tags.seq + 1 and o.tags[1] = tags.tags[1];
select distinct public.reading.tags[2] from reading;

-- a table that ON does not see is the outer one
select s.id from sale s where s.id < 50 and exists (select 1 from item s, region d join customer c on s.qty = c.id where d.id = c.region_id and s.line = 1);

-- refused: whole row
-- a row of a table whose rows are handed on
select s, row_number() over (order by s.id) from sale s where s.id < 9;

-- grouping sets give rows that no WHERE has let pass
select r.parent, (select count(*) from sale s where s.qty = coalesce(r.parent, 3)) from region r where r.parent = 1 group by rollup(r.parent);

-- a looked-up subquery of ALL
select r.id from region r where r.id > all (select min(s.qty) from sale s where s.qty = r.parent);

-- windows over looked-up aggregates
select r.id from region r where (select sum(count(*)) over () from sale s where s.qty = r.id) > 3;

-- a star that cannot be spelled out, beside a lookup
select * from region r, json_each_text('{"a": 1}') x where r.id < (select count(*) from sale s where s.qty = r.id);

-- correlated conditions on columns whose equal values may differ
select p.id, (select count(*) from sale s where s.ratio > p.weight), (select count(*) from sale s where s.rate * 2 = p.id), (select count(*) from region r join sale s on s.status = r.code where r.id = p.id or s.status = p.category) from product p where p.id < 9;

-- of more types
select p.id, (select count(*) from visit v where v.span > p.id * interval '1 day'), (select count(*) from reading d where p.name = any (d.tags) or d.doc @> jsonb_build_object('k', p.id)) from product p where p.id < 5;

-- conditions that a CASE keeps from rows
select c.id, (select count(*) from sale s where s.customer_id = c.id and case when c.id = 1000 then 10 / (s.qty - s.qty) > 0 else true end) from customer c where c.id < 9;

-- a common table expression with a limit, named in FROM and in conditions
with x as (select id from sale order by id limit 9) select s.id from sale s where s.id in (select id from x) and s.qty < (select count(*) from x);

-- with groups
with x as (select qty, array_agg(id order by id) ids from sale group by qty) select s.id from sale s join x on s.qty = x.qty where s.id in (select x2.qty from x x2);

-- functions whose column has a name of its own
select t, count(*) from reading, jsonb_array_elements_text(case when jsonb_typeof(doc) = 'array' then doc end) t group by t;

-- and is used as the function's alias
select d.device, (i #>> '{}') from reading d, jsonb_array_elements(case when jsonb_typeof(doc) = 'array' then doc end) i where d.seq < 12 and jsonb_typeof(i) = 'number';

-- of two columns
select kv.key, kv.value, count(*) from reading, jsonb_each_text(case when jsonb_typeof(doc) = 'object' then doc end) kv group by kv.key, kv.value;

-- looked-up constants
select r.id from region r where (select 5 + 0 * count(*) from sale s where s.qty = r.id * 7) = 5 and (select 5 from sale s where s.qty = r.id group by s.qty) = 5 and (select max(5) from sale s where s.qty = r.id) = 5;
