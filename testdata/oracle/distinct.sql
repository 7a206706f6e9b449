-- DISTINCT and DISTINCT ON.

-- shipped 2
select distinct kind from sale;

select distinct customer_id, paid from sale;

-- representative
-- trap 8
select distinct rate from sale;

-- representative
-- trap 8
select distinct status, tag from sale;

-- trap 7
select distinct visitor from visit;

-- arm: union
select distinct id from sale;

-- arm: union
select distinct sale_id, product_id from item;

select distinct on (kind) kind, id, price from sale order by kind, price desc nulls last, id;

-- trap 13
select distinct on (customer_id) customer_id, id from sale order by customer_id, id desc;

-- trap 13
select distinct on (paid, kind) paid, kind, id, day from sale order by paid nulls first, kind desc, day, id;

-- arm: ordered
select distinct on (id) id, line, amount from sale join item on sale_id = id order by id, line desc;

select distinct on (lower(city)) city, id from sale order by lower(city), id;

select distinct on (kind) id from sale order by kind, id;

select distinct qty from sale order by qty desc nulls last limit 5;

select distinct qty % 3 from sale order by 1;

select distinct kind, count(*) from sale group by kind;

select distinct count(*) from sale group by qty;

select distinct sum(qty) over (partition by kind) from sale;

select distinct upper(city) from sale where city is not null order by 1;

select count(*) from (select distinct qty, paid from sale) d;

select distinct c.region_id from sale s join customer c on c.id = s.customer_id;

-- arm: single
select distinct category from product;

select distinct 1 from sale;

-- error: 42601
select distinct from sale;

select distinct f8, f4 from zoo where f8 <> 0 and f4 <> 0;

-- representative
select distinct f8 from zoo;

select distinct d, ts, tt from zoo;

select distinct ia, ta from zoo;

select distinct city collate "C" from sale order by city collate "C";

select distinct on (visitor) visitor, n from visit order by visitor nulls first, n;

-- error: 42P10
select distinct kind from sale order by id;

-- error: 42P10
select distinct on (kind) kind, id from sale order by id;

select distinct a.kind from sale a join sale b on a.id = b.id;

select distinct (select max(id) from region) from sale;

-- representative
select distinct tn, ci from zoo;
