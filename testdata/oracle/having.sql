-- HAVING: after the merge, never on a shard's part of a group.

-- arm: combine
-- trap 13, shipped 6
select kind, count(*) from sale group by kind having count(*) > 140;

-- shipped 6
select customer_id, count(*) from sale group by customer_id having count(*) >= 7;

-- shipped 6
select customer_id, sum(price) from sale group by customer_id having sum(price) between 2000 and 3000;

-- arm: union
select sale_id, sum(amount) from item group by sale_id having sum(amount) > 700;

-- shipped 6: a minimum that another shard undercuts
select kind, min(price) from sale group by kind having min(price) > -49;

select kind from sale group by kind having kind is not null;

select kind, count(*) from sale group by kind having kind in ('ok', 'sad') and sum(qty) > 10;

select kind, count(*) from sale group by kind having avg(price) > 400 and max(day) > '2024-12-01';

select paid from sale group by paid having count(distinct kind) = 4;

select paid, count(*) from sale group by paid having bool_or(qty > 18);

select kind from sale group by kind having (select count(*) from region) < count(*);

select kind from sale group by kind having exists (select from region where id > count(sale.id) - 145);

select max(price) from sale having max(price) > 0;

select max(price) from sale having max(price) < 0;

select count(*) from sale where id > 5000 having sum(qty) is null;

select count(*) from sale where id > 5000 having count(*) > 0;

select 1 as one from sale having count(*) > 5;

select upper(city), count(*) from sale group by city having upper(city) < 'P' order by upper(city) collate "C", 2;

select c.name, count(*) from sale s join customer c on c.id = s.customer_id group by c.name having count(*) > 6 order by 2 desc, 1 limit 10;

-- representative
-- trap 8
select rate, count(*) from sale group by rate having rate = 1.00;

-- trap 7
select visitor, count(*) from visit group by visitor having visitor is null or count(*) > 10;

select kind, count(*) from sale group by kind having not (count(*) > 140) or kind is null;

select kind, sum(qty) filter (where paid) from sale group by kind having sum(qty) filter (where paid) > 300;

select kind, string_agg(distinct code, '' order by code) from sale group by kind having string_agg(distinct code, '' order by code) like '%Z%';

-- error: 42803
select kind from sale group by kind having qty > 3;
