-- Replicated tables alone: one shard answers, once.

-- arm: single
-- trap 15, shipped 14
select count(*) from region;

-- arm: single
select * from calendar where holiday is not null order by day;

-- arm: single
select r.name, count(c.id) from region r left join customer c on c.region_id = r.id group by r.name;

-- arm: single
select * from region full join product on region.id = product.id;

-- arm: single
select 1, 'x', null;

-- arm: single
select generate_series(1, 3), unnest(array['a', 'b']);

-- arm: single
values (1, 'a'), (2, 'b') order by 1 desc;

-- arm: single
table product;

-- arm: single
select * from generate_series(1, 5) n where n % 2 = 1;

-- arm: single
select category, percentile_cont(0.5) within group (order by price), string_agg(name, ',' order by id) from product group by category;

-- arm: single
select name from region order by name;

-- arm: single
select name, rank() over (order by price desc nulls last, id) from product;

-- arm: single
-- representative
select nick, count(*) from customer group by nick having nick = 'ANN';

-- arm: single
with recursive t as (select id, parent from region where id = 2 union select r.id, r.parent from region r join t on r.parent = t.id) select count(*) from t;

-- arm: single
select distinct on (region_id) region_id, id from customer order by region_id, credit desc, id;

-- arm: single
select id from customer where region_id not in (select id from region where parent is null);

-- arm: single
select current_setting('TimeZone'), 1 where exists (select from region);

-- arm: single
select day from calendar where day in (select joined + 1400 from customer) limit 0;

-- arm: single
select twice(id), slug(name) from region;

-- arm: single
select id, tax(price) from product;

-- refused: not declared IMMUTABLE
select id, noisy(id) from product;

-- arm: single
select public.region.name, region.* from public.region;

-- error: 42703
select missing from region;

-- subset of: select id from customer
select id from customer limit 5;
