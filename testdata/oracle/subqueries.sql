-- Scalar subqueries and derived tables, correlated and not.

-- trap 14
select id, price from sale where price > (select avg(price) from sale);

-- trap 14
select count(*) from sale where price > (select avg(price) from sale);

-- trap 14
select id from sale where day = (select max(day) from sale);

-- trap 14
select id, price - (select avg(price) from sale) from sale where id < 20;

-- trap 14
select (select count(*) from sale), (select max(n) from visit), (select count(*) from region);

-- arm: single
select (select count(*) from customer where region_id = r.id) as n, r.name from region r;

-- trap 15
select r.name, (select count(*) from sale s join customer c on c.id = s.customer_id where c.region_id = r.id) from region r;

select c.id, (select max(s.price) from sale s where s.customer_id = c.id) from customer c where c.id < 40;

-- arm: union
select s.id, (select count(*) from item i where i.sale_id = s.id) from sale s;

-- arm: union
select s.id, (select sum(amount) from item i where i.sale_id = s.id and i.line > 1), (select name from customer c where c.id = s.customer_id) from sale s where s.id < 100;

select id from sale s where (select count(*) from item i where i.sale_id = s.id) > 2 and s.qty > 5;

select id from sale s where price > (select avg(price) from sale t where t.kind = s.kind) and id < 200;

select id from sale s where qty = (select max(qty) from sale t where t.customer_id = s.customer_id) and id < 200;

select i.sale_id, i.line from item i where i.amount > (select avg(amount) * 1.5 from item j where j.sale_id = i.sale_id);

select i.sale_id, i.line from item i where i.amount > (select avg(amount) * 1.8 from item j where j.product_id = i.product_id) and i.sale_id < 150;

select kind, count(*) from sale where price > (select avg(price) from sale) group by kind;

select kind, avg(price) > (select avg(price) from sale) from sale group by kind;

select kind, sum(price) / (select sum(price) from sale) from sale group by kind;

select kind, count(*) from sale group by kind having count(*) > (select count(*) / 10 from sale);

select kind, max(price) from sale group by kind having max(price) = (select max(price) from sale);

select (select kind from sale where id = 3), (select status from sale where id = 5000);

select id from sale where (kind, paid) = (select kind, paid from sale where id = 12) and id < 200;

select array(select id from sale where id < 10 order by id desc), array(select id from region order by id);

select s.id, array(select i.amount from item i where i.sale_id = s.id order by i.line) from sale s where s.id < 40;

-- error: 21000
select (select id from sale where id in (1, 2));

-- each of the rows is on another shard
-- error: 21000
select id from sale where qty = (select quantity from item where sale_id between 1 and 40 and line = 1);

-- derived tables
select x.kind, x.n from (select kind, count(*) as n from sale group by kind) x where x.n > 100;

select avg(n), max(n), min(n) from (select customer_id, count(*) as n from sale group by customer_id) x;

select x.id, c.name from (select id, customer_id from sale where price > 900) x join customer c on c.id = x.customer_id;

select s.id, x.avg from sale s join (select kind, avg(price) as avg from sale group by kind) x on x.kind = s.kind where s.price > x.avg and s.id < 120;

select s.id, x.n from sale s join (select sale_id, count(*) as n from item group by sale_id) x on x.sale_id = s.id;

select s.id, x.total from sale s left join (select sale_id, sum(amount) as total from item group by sale_id) x on x.sale_id = s.id where s.id < 50;

select count(*) from (select id from sale order by price limit 10) x;

select sum(price) from (select price from sale order by price desc nulls last limit 10) x;

-- trap 13
select x.id, i.line from (select id from sale order by price desc nulls last, id limit 10) x join item i on i.sale_id = x.id;

-- trap 13
select c.name, x.id from (select id, customer_id from sale order by day, id limit 15 offset 5) x left join customer c on c.id = x.customer_id;

select * from (select * from (select id, qty from sale where id < 100) a where qty > 3) b where id > 50;

select x.m from (select max(price) as m from sale) x, (select count(*) as c from item) y where y.c > x.m;

select max(x.r) from (select id, rank() over (order by qty desc nulls last) as r from sale) x;

select count(*) from (select distinct kind, paid from sale) x;

select x.k, count(*) from (select case when price > 500 then 'high' else 'low' end as k, * from sale) x group by x.k;

select count(*), sum(total) from (select s.id, sum(i.amount) as total from sale s join item i on i.sale_id = s.id group by s.id having count(*) > 2) x;

select a.kind, a.n, b.n from (select kind, count(*) as n from sale group by kind) a join (select state as kind, count(*) as n from reading group by state) b on a.kind = b.kind;

select (select max(x.n) from (select count(*) as n from sale group by kind) x) as biggest;

select id, (select max(day) from sale) - day as age from sale where id < 30;

select coalesce((select price from sale where id = 19), 0) + 1, exists (select from sale where id = 5000);

-- an outer reference of two levels
select c.id, (select count(*) from sale s where s.customer_id = c.id and exists (select from item i where i.sale_id = s.id and i.amount > c.credit)) from customer c where c.id < 30;

select r.id, (select string_agg(c.name, ',' order by c.id) from customer c where c.region_id = r.id) from region r;

-- an aggregate that belongs to the outer query
select kind, (select max(id) from region where id <= count(s.id) - 140) from sale s group by kind;

select kind, (select sum(s.qty)) from sale s group by kind;

select id, (select s.qty + 1) from sale s where id < 20;

select id, (values (qty)) from sale where id < 10;

select case when id < 5 then (select max(price) from sale) else (select min(price) from sale) end, id from sale where id < 10;

select id from sale order by (select count(*) from item where sale_id = id) desc, id limit 10;

select id from sale s order by (select c.name from customer c where c.id = s.customer_id) collate "C" nulls first, id limit 30;

select (select count(*) from item i where i.sale_id = s.id) as n, count(*) from sale s group by n order by n;

-- the same subquery twice is one expression
select (select c.name from customer c where c.id = s.customer_id) as n, count(*), sum(price) from sale s group by (select c.name from customer c where c.id = s.customer_id) having (select c.name from customer c where c.id = s.customer_id) is not null;

select (select r.code from region r where r.id = c.region_id), count(*) from sale s join customer c on c.id = s.customer_id group by (select r.code from region r where r.id = c.region_id) order by (select r.code from region r where r.id = c.region_id) collate "C";

select (select count(*) from item i where i.sale_id = s.id), count(*) from sale s group by (select count(*) from item i where i.sale_id = s.id) order by 1;

select case when qty in (select age from profile) then 'in' else 'out' end as side, count(*) from sale group by case when qty in (select age from profile) then 'in' else 'out' end order by side;

select exists (select from visit v where v.score = s.qty) as e, kind, count(*) from sale s group by rollup (exists (select from visit v where v.score = s.qty), kind) order by exists (select from visit v where v.score = s.qty), kind, count(*);

select distinct on (price > (select avg(price) from sale)) price > (select avg(price) from sale), id from sale order by price > (select avg(price) from sale), id;

select distinct customer_id in (select id from customer where vip) as v from sale order by customer_id in (select id from customer where vip);

select kind, string_agg(distinct (select c.name from customer c where c.id = s.customer_id)::text collate "C", ',' order by (select c.name from customer c where c.id = s.customer_id)::text collate "C") from sale s where id < 60 group by kind;

select (select max(score) from visit), rank() over (order by (select max(score) from visit), count(*)), count(*) from sale group by kind, (select max(score) from visit) order by 2;

select (select x.n from (select score, count(*) as n from visit group by score) x where x.score = s.qty), count(*) from sale s group by (select x.n from (select score, count(*) as n from visit group by score) x where x.score = s.qty) order by 1;
