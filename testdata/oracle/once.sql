-- Common table expressions that have to run just once, named in blocks that run at different places.

-- the ten best customers: of a replicated table
with c as (select id as k from customer order by credit desc, id limit 10) select count(*) from sale join c on customer_id = k where exists (select 1 from item join c on product_id = k);

-- of a sharded one
with c as (select customer_id as k from sale where price is not null order by price desc, id limit 40) select count(*), sum(qty) from sale join c on customer_id = k where exists (select 1 from item join c on product_id = k where quantity > 2);

with c as (select id as k, credit from customer order by credit desc, id limit 10) select s.id, c.credit from sale s join c on s.customer_id = c.k union all select i.sale_id, c.credit from item i join c on i.product_id = c.k;

with c as (select id as k from customer order by credit desc, id limit 10) select (select count(*) from sale join c on customer_id = k), (select sum(quantity) from item join c on product_id = k), count(*) from c;

with c as (select id as k from customer order by credit desc, id limit 10) select count(*) from sale where customer_id in (select k from c) and id in (select sale_id from item where product_id in (select k from c));

with c as (select id as k from customer order by credit desc, id limit 10) select count(*) from sale where customer_id not in (select k from c) or qty in (select k from c);

-- one that names another
with c as (select id as k, region_id from customer order by credit desc, id limit 12), d as (select k from c order by region_id nulls last, k limit 5) select count(*) from sale join c on customer_id = c.k where exists (select 1 from item join d on product_id = d.k) and qty > (select min(k) from d) - 100;

-- an outer join keeps its rows once
with c as (select id as k from customer order by credit desc, id limit 10) select c.k, s.id, v.n from c left join sale s on s.customer_id = c.k and s.qty > 15 left join visit v on v.score = c.k and v.n < 100;

with c as (select id as k from customer order by credit desc, id limit 10) select s.id, a.k, b.k from sale s left join c a on a.k = s.customer_id left join c b on b.k = s.qty where s.id < 200;

-- twice in one block
with c as (select id as k, region_id as r from customer order by credit desc, id limit 10) select a.k, b.k, count(*) from sale join c a on a.k = customer_id join c b on b.r = a.r group by 1, 2;

with c (x, y) as (select id, name from customer order by credit desc, id limit 10) select p.m, p.y, count(*) from sale join c as p (m) on p.m = customer_id where exists (select 1 from c q where q.y < p.y) group by 1, 2;

-- a whole row of it
with c as (select id as k, name from customer order by credit desc, id limit 10) select count(c), count(distinct c.name) from sale join c on customer_id = k where exists (select 1 from item join c on product_id = k);

-- what is volatile runs once: the same numbers everywhere
with r as (select random() as x from customer where id = 1) select count(*) from sale join r on r.x < 2 where exists (select 1 from item join r on r.x >= 0 where quantity > 3);

with r as (select id, random() as x from sale where id < 50) select count(*), sum((a.x = b.x)::int4) from r a join r b using (id);

with r as (select id, random() as x from sale where id < 50) select count(*) from r where x in (select x from r) and (select count(*) from r) = 49 + 20;

-- numbered rows of a table without an order of its own
with n as (select id, row_number() over (order by region_id nulls first, id) as rank from customer) select sum(a.rank), count(*) from sale join n a on a.id = customer_id where exists (select 1 from n b where b.rank = qty);

-- inside of others
select * from (with c as (select id as k from customer order by credit desc, id limit 10) select a.k, count(*) as n from sale join c a on a.k = customer_id where exists (select 1 from item join c on product_id = c.k) group by 1) as x join region on region.id = x.n;

select count(*) from sale where id in (with c as (select id as k from customer order by credit desc, id limit 10) select sale_id from item join c on product_id = k where exists (select 1 from visit join c on score = k));

-- of groups and of an aggregate
with c as (select customer_id as k, sum(price) as total from sale group by customer_id order by total desc nulls last, k limit 7) select count(*), max(total) from sale join c on customer_id = k where exists (select 1 from item join c on product_id = k);

with c as (select kind, string_agg(status, ',' order by id) as all_of from sale where id < 30 group by kind) select a.kind, length(b.all_of) from c a join c b on a.kind = b.kind;

-- recursive ones
with recursive r (id, depth) as (select id, 0 from region where parent is null union all select c.id, r.depth + 1 from region c join r on c.parent = r.id), c as (select id as k from r order by depth desc, id limit 5) select count(*) from sale join c on qty = k where exists (select 1 from item join c on product_id = k);

with recursive c as (select id as k from customer order by credit desc, id limit 6), r (k, n) as (select k, 1 from c union all select r.k, n + 1 from r join c on c.k = r.k where n < 3) select r.n, count(*) from sale join r on customer_id = r.k where exists (select 1 from item join c on product_id = c.k) group by 1;

with recursive r (k) as (select min(id) from sale union all select (select min(id) from sale where id > r.k) from r where k < 5) select count(*) from item join r on sale_id = k where exists (select 1 from visit join r on score = k);

-- none of its rows is wanted
with c as (select id as k from customer order by credit desc, id limit 10), unused as (select random() as x) select count(*) from sale join c on customer_id = k where exists (select 1 from item join c on product_id = k where false);

with c as (select id as k from customer order by credit desc, id limit 0) select count(*), max(k) from sale left join c on customer_id = k where not exists (select 1 from item join c on product_id = k);

-- arrays, domains and texts of other collations
with c as (select k, ia, dom, tn, tc from zoo order by k limit 20) select count(*) from zoo z join c on c.tn = z.tn where exists (select 1 from reading r join c on r.seq = c.k) and z.dom in (select dom from c);

select count(*) from (select c.name from customer c order by credit desc, id limit 3) as x, lateral (with y as (select id, x.name as n from sale where qty > 10 order by id limit 4) select a.id from y a join y b using (id) where b.n like 'C%') as z;
