-- LATERAL.

-- arm: union
select s.id, x.n, x.total from sale s, lateral (select count(*) as n, sum(amount) as total from item i where i.sale_id = s.id) x;

-- arm: union
select s.id, x.line from sale s cross join lateral (select line from item i where i.sale_id = s.id order by amount desc nulls last, line limit 1) x;

select s.id, x.line from sale s left join lateral (select line from item i where i.sale_id = s.id and amount > 300 order by line limit 2) x on true where s.id < 100;

select c.id, x.id, x.price from customer c, lateral (select id, price from sale s where s.customer_id = c.id order by price desc nulls last, id limit 2) x where c.id < 50;

select c.id, x.n from customer c left join lateral (select count(*) as n from sale s where s.customer_id = c.id) x on true where c.id < 60;

select r.name, x.m from region r, lateral (select max(s.price) as m from sale s join customer c on c.id = s.customer_id where c.region_id = r.id) x;

select s.id, d.twice, e.more from sale s, lateral (select s.qty * 2 as twice) d, lateral (select d.twice + 1 as more) e where s.id < 30;

select s.id, g from sale s, lateral generate_series(1, s.qty) g where s.id < 40;

select s.id, g from sale s left join lateral generate_series(1, s.qty) g on true where s.id < 30;

select s.kind, x.n from (select distinct kind from sale) s, lateral (select count(*) as n from sale t where t.kind = s.kind) x;

select s.id, x.id from sale s, lateral (select t.id from sale t where t.customer_id = s.customer_id and t.id > s.id order by t.id limit 1) x where s.id < 100;

select s.id, x.id from sale s, lateral (select t.id from sale t where t.id = s.id and t.paid) x where s.id < 100;

select d.device, x.seq, x.value from (select distinct device from reading) d, lateral (select seq, value from reading r where r.device = d.device order by taken desc limit 3) x;

select z.k, e from zoo z, lateral unnest(z.ia) e;

select z.k, e.key, e.value from zoo z, lateral jsonb_each(case when jsonb_typeof(z.jb) = 'object' then z.jb end) e where z.k < 60;

select r.device, t from reading r, unnest(r.tags) t where r.seq < 6;

select p.id, x.n, x.q from product p cross join lateral (select count(*) as n, sum(quantity) as q from item i where i.product_id = p.id) x;

select u.n, u.v from (select n, visitor as v from visit where n < 40) u, lateral (select age from profile p where p.visitor = u.v) x;
