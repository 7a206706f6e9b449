-- WITH: used once, several times, not at all, over one another, as written and materialized.

-- arm: union
with s as (select id, qty from sale where paid) select id from s where qty > 10;

with s as (select kind, count(*) as n from sale group by kind) select * from s where n > 100;

-- trap 13
with top as (select id, price from sale order by price desc nulls last, id limit 20) select count(*), sum(price) from top;

-- trap 13
with top as (select id, price from sale order by price desc nulls last, id limit 20) select t.id, i.line from top t join item i on i.sale_id = t.id;

with total as (select sum(price) as t from sale) select kind, round(sum(price) / max(t), 6) from sale, total group by kind;

with total as (select sum(price) as t, count(*) as n from sale) select id, price from sale, total where price > 1.9 * t / n;

with a as (select id, customer_id from sale where qty > 10), b as (select a.id, c.name from a join customer c on c.id = a.customer_id) select * from b;

with a as (select kind, avg(price) as p from sale group by kind), b as (select max(p) as m from a) select a.kind from a, b where a.p = b.m;

with s as (select * from sale where id < 200) select a.id, b.id from s a join s b on a.id = b.id where a.paid;

with s as (select * from sale where id < 100) select count(*) from s a join s b on a.qty = b.qty;

with s as materialized (select id, kind from sale where qty = 3) select kind, count(*) from s group by kind;

with s as not materialized (select id, kind from sale) select count(*) from s where kind = 'ok';

with unused as (select count(*) from sale) select id from region;

with unused as (select 1 / 0) select count(*) from sale;

with r as (select id, name from region where parent is null) select s.id, r.name from sale s join r on r.id = s.qty where s.id < 100;

-- a name that hides a table's
with sale as (select 1 as id, 'x' as note) select * from sale;

with sale as (select id from sale where id < 10) select * from sale order by id;

with region as (select distinct kind as name from sale) select * from region;

with item as (select id as sale_id from region) select count(*) from item join public.item i using (sale_id);

with s (a, b) as (select id, price from sale where id < 50) select b, a from s order by a;

with x as (select 1 as n union all select 2) select s.id from sale s join x on x.n = s.qty where s.id < 100;

with c as (select customer_id, sum(price) as total from sale group by customer_id) select cu.name, c.total from customer cu join c on c.customer_id = cu.id where c.total > 3500;

with c as (select customer_id, sum(price) as total from sale group by customer_id) select cu.name from customer cu left join c on c.customer_id = cu.id where c.total is null;

with big as (select sale_id from item group by sale_id having sum(amount) > 700) select s.kind, count(*) from sale s where id in (select sale_id from big) group by s.kind;

with big as (select sale_id from item group by sale_id having sum(amount) > 700) select count(*) from sale s where not exists (select from big where big.sale_id = s.id);

-- one step, under three aliases
with t as (select customer_id as c, kind, sum(price) as total from sale group by 1, 2)
select a.c, a.kind, a.total, b.total, c.total from t a join t b on a.c = b.c and a.kind < b.kind
left join t c on c.c = a.c + 1 and c.kind = a.kind where a.total > 10;

with t as (select s.customer_id as c, count(*) as n from sale s join item i on i.sale_id = s.id group by 1)
select a.c, a.n, (select count(*) from t where t.n > a.n) from t a where a.n = (select max(n) from t) or a.n = (select min(s.n) from t s);

-- equal but for a row as a whole, and a column that is called as a table is
with a as (select max(s.price) as s from sale s), b as (select max(t.price) as s from sale t), c as (select count(t) as s from sale t) select a.s, b.s, c.s from a, b, c;

-- a NaN, which a merge of decimals cannot hold
with t as (select customer_id % 7 as c, sum((case when id = 7 then 'NaN' else price end)::numeric(12,2)) as total, count(*) as n from sale group by 1)
select c, total, n from t where n > 1 union all select null, max(total), sum(n) from t;

with d as (select distinct day from sale) select c.month, count(*), count(d.day) from calendar c left join d using (day) group by c.month order by c.month;

with w as (select id, kind, row_number() over (partition by kind order by id) as n from sale) select * from w where n <= 3;

with outer_one as (with inner_one as (select id from sale where id < 20) select id from inner_one where id > 5) select count(*) from outer_one;

select (with m as (select max(price) as p from sale) select p from m), count(*) from region;

select s.id, x.n from sale s, lateral (with i as (select * from item where sale_id = s.id) select count(*) as n from i) x where s.id < 40;

with s as (select * from sale), i as (select * from item) select count(*), sum(i.amount) from s join i on i.sale_id = s.id where s.paid;

with s as (select id, id % 2 as half from sale), t as (select half, count(*) as n from s group by half) select s.id, t.n from s join t using (half) where s.id < 10;

with k as (select array_agg(id order by id) as ids from sale where qty = 5) select count(*) from item, k where sale_id = any (k.ids);

with a as (select id from sale where id < 10), b as (select sale_id from item where sale_id < 5) (select * from a union select * from b) order by 1;

with v (x) as (values (1), (2), (null)) select count(*), sum(x) from v;

with s as (select kind, paid from sale where id < 300) select kind, count(*) from s group by kind union all select null, count(*) from s;

-- error: 42P01
with a as (select * from b), b as (select 1) select * from a;

-- Names that tables have too, and what nobody reads.
with region as (select id from sale) select region.id, count(*) from region join item on sale_id = id group by region.id;

with sale as (select id as qty, qty as id from sale) select id, count(*) from sale group by id;

with x as (select id from sale limit 3), y as (select id from x) select count(*) from item;

with x as (select count(*) as id from sale), y as (select id from x) select sale_id from item;

with x as (select count(*) from sale) select sale_id from item where sale_id in (with x as (select id from region) select id from x);
