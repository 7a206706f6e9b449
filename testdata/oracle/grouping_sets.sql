-- ROLLUP, CUBE and GROUPING SETS. A NULL of the data is not the NULL of a total.

-- trap 18
select kind, paid, count(*) from sale group by rollup (kind, paid);

-- trap 18
select kind, paid, count(*), grouping(kind), grouping(paid), grouping(kind, paid) from sale group by cube (kind, paid);

-- trap 18
select customer_id, count(*), sum(price) from sale where id < 80 group by rollup (customer_id);

-- trap 18, trap 6
select kind, count(*), sum(qty) from sale where id > 5000 group by rollup (kind);

-- trap 18
select kind, status, sum(price), avg(qty) from sale group by grouping sets ((kind), (status), ());

-- trap 18
select kind, grouping(kind) from sale group by grouping sets ((kind), (kind), ());

select kind, paid, count(*) from sale group by grouping sets ((kind, paid), (kind)) having count(*) > 50;

select kind, paid, count(*) from sale group by kind, rollup (paid);

select kind, paid, extract(month from day) as m, count(*) from sale group by rollup (kind, (paid, m));

select kind, count(distinct qty), avg(price) from sale group by rollup (kind);

-- trap 18
select coalesce(kind::text, case grouping(kind) when 1 then 'total' else 'none' end) as k, count(*) from sale group by rollup (kind) order by grouping(kind), kind;

select sale_id, line, sum(quantity) from item where sale_id < 30 group by rollup (sale_id, line);

-- arm: union | combine | gather
select sale_id, line, count(*) from item group by grouping sets ((sale_id, line), (sale_id)) order by 1, 2 limit 50;

select visitor, score % 3 as third, count(*) from visit group by cube (visitor, third) having count(*) > 20;

select c.vip, r.name, count(*), grouping(c.vip, r.name) from sale s join customer c on c.id = s.customer_id left join region r on r.id = c.region_id group by cube (c.vip, r.name);

-- representative
-- trap 8
select rate, count(*), grouping(rate) from sale group by rollup (rate);

select count(*) from sale group by grouping sets ((), ());

select kind, paid, sum(qty), rank() over (partition by grouping(kind, paid) order by sum(qty) desc nulls last, kind, paid) from sale group by rollup (kind, paid);

select distinct grouping(kind) from sale group by rollup (kind);

-- arm: single
select vip, region_id, sum(credit) from customer group by rollup (vip, region_id);

select kind, stddev(qty), count(*) filter (where paid) from sale group by rollup (kind) order by kind nulls first, 3;

select string_agg(code, '' order by id), kind from sale where id < 40 group by rollup (kind);

select kind, count(*) from sale group by distinct rollup (kind), rollup (kind);

select kind, paid, count(*), grouping(kind, paid) from sale group by distinct cube (kind, paid), rollup (paid, kind) having count(*) > 3 order by 1, 2, 3, 4;

select c.vip, r.name, count(*) from sale s join customer c on c.id = s.customer_id left join region r on r.id = c.region_id group by distinct grouping sets ((c.vip, r.name), (r.name, c.vip), c.vip, ()), rollup (c.vip);

-- refused: may be one key
select count(*) from sale group by distinct rollup (qty + 1, 1 + qty);

select count(*), (qty + 1) * 2 from sale group by rollup ((qty + 1) * 2) order by 2, 1;

select kind, (qty)::text, count(*) from sale group by grouping sets (((qty)::text), (kind, (qty)::text), (kind)::text, ()), kind order by 1, 2, 3;

select (qty + 1) % 2, kind, count(*) from sale group by cube ((qty + 1) % 2, (kind)) order by 1, 2, 3;
