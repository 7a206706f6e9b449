-- Groups: keys of every kind, those that bind a group to one shard, expressions over aggregates.

-- arm: combine
select kind, count(*) from sale group by kind;

-- arm: combine
-- trap 7
select customer_id, count(*), sum(price) from sale group by customer_id;

-- arm: combine
select paid, kind, count(*), sum(qty), avg(qty), min(price), max(price) from sale group by paid, kind;

-- arm: union
select id, count(*), sum(qty) from sale group by id;

-- arm: union
select sale_id, count(*), sum(amount), avg(discount) from item group by sale_id;

-- arm: union
select sale_id, line % 2, array_agg(product_id order by line) from item group by 1, 2;

-- arm: combine
-- trap 7: the key of this table may be NULL, and such rows are on every shard
select visitor, count(*), sum(score) from visit group by visitor;

-- trap 7
select visitor, array_agg(n order by n) from visit group by visitor;

-- representative
-- trap 8
select rate, count(*), sum(qty) from sale group by rate;

-- representative
-- trap 8
select ratio, count(*) from sale group by ratio;

-- trap 8
select status, count(*), length(status) from sale group by status;

-- representative
-- trap 8: a nondeterministic collation
select tag, count(*), min(id) from sale group by tag;

-- representative
-- trap 8
select num, count(*) from zoo group by num;

-- representative
-- trap 8, trap 9
select f8, f4, count(*) from zoo group by f8, f4;

-- trap 8
select extract(epoch from iv), count(*) from zoo group by iv;

-- representative
-- trap 8
select bp, count(*) from zoo group by bp;

-- representative
-- trap 8
select ch, ci, tn, count(*) from zoo group by ch, ci, tn;

-- representative
-- trap 8
select jb, count(*) from zoo group by jb;

-- representative
-- trap 8
select na, rn, count(*) from zoo group by na, rn;

-- trap 9
select d, ts, count(*) from zoo group by d, ts;

select tt, tm, tz, count(*) from zoo group by 1, 2, 3;

select en, bo, cash, count(*) from zoo group by en, bo, cash;

select ia, ta, ens, count(*) from zoo group by ia, ta, ens;

select comp, r4, rd, mr, count(*) from zoo group by comp, r4, rd, mr;

select uu, by, bi, vb, count(*) from zoo group by uu, by, bi, vb;

select ip, ci4, mac, oi, nm, ec, count(*) from zoo group by ip, ci4, mac, oi, nm, ec;

-- error: 42883
select js, count(*) from zoo group by js;

-- error: 42883
select pt, count(*) from zoo group by pt;

-- trap 10
select note, city, code, count(*) from sale where id < 200 group by note, city, code;

select city collate "C", count(*) from sale group by city collate "C";

select lower(city), count(*), count(distinct city) from sale group by lower(city);

select date_trunc('month', day), count(*), sum(price) from sale group by 1;

-- trap 21
select date_trunc('day', at), count(*) from sale group by 1;

-- trap 21
select at::date, extract(hour from at), count(*) from sale where id < 300 group by 1, 2;

-- trap 21
select to_char(taken, 'YYYY-MM-DD HH24 TZ'), count(*) from reading group by 1;

select extract(year from day) as year, extract(isodow from day) as dow, count(*) from sale group by year, dow;

select qty % 5, abs(qty) > 3, count(*) from sale group by qty % 5, abs(qty) > 3;

-- trap 25
select qty / 4, -qty, count(*) from sale group by qty / 4, -qty;

select case when qty < 0 then 'neg' when qty = 0 then 'zero' else 'pos' end as sign, count(*) from sale group by sign;

select kind, count(*) + 1, sum(qty) * 2 - count(*), max(price) - min(price) as spread from sale group by kind;

-- shipped 1
select kind, 100 * sum(qty) / nullif(count(*), 0), round(sum(price) / sum(qty), 4) from sale group by kind;

select kind, kind::text || count(*), kind is null, coalesce(kind::text, 'none') from sale group by kind;

select upper(kind::text), count(*) from sale group by kind;

-- not in the output
-- shipped 4
select count(*) from sale group by kind;

select sum(price) from sale group by kind, paid;

select count(*) from sale group by ();

select count(*) from sale where id > 5000 group by ();

-- trap 6
select kind, count(*) from sale where id > 5000 group by kind;

select 1 as one, count(*) from sale group by one;

select null as n, count(*) from sale group by 1;

-- error: 42601
select count(*) from sale group by 'a'::text, true;

-- functional dependency on the primary key
-- arm: union
select id, note, price, count(*) from sale group by id;

select s.id, s.note, count(i.line), sum(i.amount) from sale s left join item i on i.sale_id = s.id group by s.id;

select c.id, c.name, count(*) from sale s join customer c on c.id = s.customer_id group by c.id;

select c.id, c.name, c.vip, r.name, sum(s.price) from sale s join customer c on c.id = s.customer_id join region r on r.id = c.region_id group by c.id, r.id;

-- aggregates of an expression over several tables
select r.name, count(*), sum(i.amount * (1 - i.discount)) from sale s join item i on i.sale_id = s.id join customer c on c.id = s.customer_id left join region r on r.id = c.region_id group by r.name;

-- a column's name before an output's: GROUP BY takes the input column
-- error: 42803
select upper(code) as city, count(*) from sale group by city;

select s.kind as note, count(*) from sale s group by s.kind;

select distinct count(*) from sale group by customer_id;

-- arm: combine
select count(*), kind from sale group by 2;

select kind, stddev(qty), variance(price), count(distinct customer_id) from sale group by kind;

-- trap 17
select kind, count(distinct qty), count(distinct city), sum(distinct qty), avg(price) from sale group by kind;

-- trap 17
select paid, count(distinct note) filter (where qty > 2), count(*) filter (where kind = 'ok') from sale group by paid;

-- trap 19
select kind, string_agg(code, '' order by id), array_agg(qty order by id desc) from sale where id < 100 group by kind;

select kind, percentile_cont(0.5) within group (order by price), mode() within group (order by qty) from sale group by kind;

select device, count(*), avg(temp), max(taken), min(seq) from reading group by device;

-- representative
select state, drift, count(*), sum(temp) from reading group by state, drift;

select doc, count(*) from reading where doc <> '1.0' group by doc;

select doc ->> 'k', count(*), sum((doc ->> 'k')::numeric) from reading where jsonb_typeof(doc) = 'object' group by 1;

-- error: 42803
select kind, qty from sale group by kind;

select g.kind, g.n from (select kind, count(*) as n from sale group by kind) g where g.n > 100;

select n, count(*) from (select customer_id, count(*) as n from sale group by customer_id) g group by n;

select max(n), avg(n) from (select sale_id, count(*) as n from item group by sale_id) g;

-- skew: nearly all groups on one shard
select device, seq, count(*) from reading group by device, seq;

select tags, count(*) from reading group by tags;

select twice(qty), count(*) from sale group by twice(qty);

select slug(city), min(id) from sale group by 1;

select (kind, paid), count(*) from sale group by (kind, paid);

select row(kind, paid), count(*) from sale group by row(kind, paid);

-- arm: single
select region_id, count(*) from customer group by region_id;

-- The key of the other side of USING.
select r.id, count(*) from sale join region r using (id) group by r.id;

select distinct r.id from sale join region r using (id);

select r.id, count(*) over (partition by r.id) from sale s natural join (select id from region) r;

select r.id, count(*) from sale s join region r on (r.id, 1) = (s.id, 1) group by r.id;

select x.id from (select distinct r.id from sale join region r using (id)) x;

-- Names of the output that are columns too.
select distinct 1 as id, id as n from sale;

select count(*) as id from sale group by id;

select 1 as id, count(*) over (partition by id) from sale;

-- Fields of a key that is a row.
select (comp).x, count(*) from zoo group by comp having (comp).x > 0 or (comp).y is null order by 1, 2;

select (comp).x + 1, (comp).y, max(k) from zoo group by comp order by 1, 2, 3;

select (comp).x, sum((comp).x) from zoo group by (comp).x order by 1;

select (comps[1]).x, count(*) from zoo group by comps[1] order by 1, 2;
