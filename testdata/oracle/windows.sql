-- Window functions.

select id, row_number() over (order by id) from sale;

-- trap 13
select id, rank() over (order by qty desc nulls last), dense_rank() over (order by qty) from sale;

-- trap 13
select id, row_number() over (partition by kind order by price, id) from sale;

-- arm: union
-- trap 13
select sale_id, line, row_number() over (partition by sale_id order by line), sum(amount) over (partition by sale_id) from item;

-- arm: union
select sale_id, line, rank() over (partition by sale_id, product_id order by amount desc) from item;

-- trap 7
select n, visitor, row_number() over (partition by visitor order by n) from visit;

select id, count(*) over () from sale where qty > 12;

select id, sum(price) over (order by id) from sale where id < 100;

select id, avg(qty) over (order by id rows between 2 preceding and 2 following) from sale where id < 80;

select id, sum(qty) over (order by day, id rows between unbounded preceding and current row) from sale where kind = 'ok';

select id, day, count(*) over (order by day range between interval '3 days' preceding and current row) from sale where id < 120;

select id, sum(qty) over (order by qty groups between 1 preceding and 1 following exclude current row) from sale where id < 60;

select id, lag(id) over w, lead(id, 2, -1) over w, first_value(id) over w, last_value(id) over w, nth_value(id, 3) over w from sale where id < 50 window w as (partition by paid order by id);

select id, ntile(7) over (order by id), percent_rank() over (order by qty), cume_dist() over (order by qty) from sale where id < 70;

select kind, count(*), sum(count(*)) over (), rank() over (order by count(*) desc, kind) from sale group by kind;

select kind, paid, sum(price), sum(sum(price)) over (partition by kind), round(100 * sum(price) / sum(sum(price)) over (), 3) from sale group by kind, paid;

select customer_id, sum(price) as total, rank() over (order by sum(price) desc nulls last) from sale group by customer_id order by total desc nulls last, customer_id limit 15;

select date_trunc('month', day) as m, sum(price), sum(sum(price)) over (order by date_trunc('month', day)) from sale group by m order by m;

-- trap 12
select * from (select id, kind, price, row_number() over (partition by kind order by price desc nulls last, id) as n from sale) x where n <= 2;

select s.id, i.line, max(i.amount) over (partition by s.id) from sale s join item i on i.sale_id = s.id where s.id < 90;

select s.id, c.name, count(*) over (partition by c.name) from sale s join customer c on c.id = s.customer_id where s.id < 120;

select id, max(price) over (partition by day) from sale where id < 200 order by id;

select distinct kind, count(*) over (partition by kind) from sale;

select id, row_number() over (order by id) from sale order by id desc limit 5;

select id, row_number() over (order by price desc nulls last, id) from sale order by 2 limit 7;

-- trap 10
select id, rank() over (order by city, code), rank() over (order by city collate "C") from sale where id < 60;

-- trap 8
select k, rank() over (order by num), dense_rank() over (order by f8), rank() over (partition by bp order by k) from zoo;

-- trap 8
select k, count(*) over (partition by tn), count(*) over (partition by iv), count(*) over (partition by num) from zoo;

select id, sum(qty) filter (where paid) over (partition by kind order by id) from sale where id < 90;

select id, array_agg(id) over (partition by kind, paid order by id) from sale where id < 40;

select avg(n) from (select count(*) over (partition by customer_id) as n from sale) x;

select id, price - lag(price) over (order by day, id) as change from sale where price is not null and id < 120;

select device, seq, value, avg(value) over (partition by device order by seq rows 3 preceding) from reading where value <> 'NaN' and abs(value) < 1e9;

select device, seq, first_value(state) over (partition by device order by taken desc) from reading;

select r.name, rank() over (order by count(s.id) desc, r.name) from region r left join customer c on c.region_id = r.id left join sale s on s.customer_id = c.id group by r.name;

-- arm: single
select id, row_number() over (partition by region_id order by credit desc, id) from customer;

select id, (select max(rn) from (select row_number() over (order by i.line) as rn from item i where i.sale_id = s.id) x) from sale s where s.id < 50;

-- error: 42P20
select id from sale where row_number() over () = 1;

select row_number() over (order by id) + 1000, -rank() over (order by qty, id) from sale where id < 20;

select lower(city), count(*), row_number() over (order by lower(city)) from sale group by lower(city);
