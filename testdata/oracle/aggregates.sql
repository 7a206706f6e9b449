-- Aggregates over all rows: types, NULLs, special values, and what cannot be merged.

-- arm: combine
-- trap 1: count is bigint, not the numeric that a sum of bigint is
select count(*) from sale;

-- arm: combine
select count(qty), count(*), count(note) from sale;

-- arm: combine
-- trap 1
select sum(line), sum(quantity), sum(sale_id) from item;

-- arm: combine
-- trap 1, trap 3
-- tolerance: 1e-6
select sum(factor), sum(ratio), avg(factor), avg(ratio) from sale;

-- arm: combine
-- trap 2
select avg(line), avg(quantity), avg(sale_id), avg(amount), avg(discount) from item;

-- trap 2
select avg(qty), avg(id), avg(price), avg(rate) from sale;

-- trap 2
select avg(span), sum(span) from visit;

select sum(fee), min(fee), max(fee) from visit;

-- arm: gather
-- trap 6, shipped 7
select count(*), count(qty), sum(qty), avg(qty), min(qty), max(qty), bool_and(paid), bool_or(paid),
       array_agg(id), string_agg(note, ','), stddev(qty), every(paid)
from sale where id > 5000;

-- arm: combine
-- trap 6
select count(*), count(qty), sum(qty), avg(qty), min(qty), max(qty), bool_and(paid), stddev(qty) from sale where id > 5000;

-- trap 6
select coalesce(sum(qty), 0) + count(*) from sale where false;

-- arm: combine
-- shipped 1
select sum(qty) - sum(id), sum(price) / count(*), 100.0 * sum(qty) / sum(id) from sale;

-- shipped 1
select count(*) * 2 + 1, -count(*), 'n=' || count(*), count(*)::text || '!' from sale;

-- shipped 9
select avg(price) from sale where id < 10;

-- arm: combine
-- trap 10
select min(note), max(note), min(code), max(code), min(city), max(city) from sale;

-- representative
-- trap 10
select min(tag), max(tag) from sale;

-- arm: combine
-- trap 9
select min(f4), max(f4), min(f8), max(f8) from zoo;

-- trap 9, shipped 11
select min(num), max(num), sum(num), avg(num), count(num) from zoo;

-- trap 9
select sum(num), avg(num) from zoo where num < 1e25 and num > '-Infinity';

-- trap 9
select sum(f8), avg(f8), sum(f4) from zoo where f8 not in ('Infinity', '-Infinity') and abs(f8) < 1e300;

-- trap 9
select min(value), max(value), sum(value), avg(value) from reading;

-- trap 9
select min(d), max(d), min(ts), max(ts), min(tt), max(tt), min(tm), max(tm), min(tz), max(tz) from zoo;

-- shipped 13
select min(at), max(at), min(t0), max(t0) from sale, (select min(t0) as t0 from zoo) z;

-- shipped 13
select min(started), max(started), max(started + interval '1 microsecond') from visit;

select min(i2), max(i2), min(i4), max(i4), min(i8), max(i8), sum(i2), sum(i4), sum(i8), avg(i8) from zoo;

-- error: 22003
select sum(i4)::int4 * 2147483647 from zoo where i4 > 5;

select sum(i8) from zoo where i8 > 0;

select min(dec), max(dec), sum(dec), avg(dec), sum(wide), avg(wide), sum(dom), avg(dom), min(dom) from zoo;

-- representative
select min(bp), max(bp), min(ch), max(ch) from zoo;

select min(vc), max(vc), min(nm::text), max(ec::text), min(tc), max(tc) from zoo;

-- representative
select min(ci), max(ci) from zoo;

select min(en), max(en) from zoo;

-- trap 22: the order of labels is not that of text
select max(kind), min(kind), max(kind::text) from sale;

select min(ia), max(ia), min(ta), max(ta) from zoo;

-- representative
select min(iv), max(iv) from zoo where iv <> interval '30 days';

select min(ip), max(ip), min(oi), max(oi), min(cash), max(cash) from zoo;

-- arm: combine
select bit_and(quantity), bit_or(quantity), bit_and(line), bit_or(sale_id) from item;

select bit_and(bi), bit_or(bi), bool_and(bo), bool_or(bo), every(bo) from zoo;

-- arm: combine
-- trap 4
select stddev(qty), variance(qty), stddev_pop(qty), var_pop(qty), stddev_samp(id), var_samp(id) from sale;

-- trap 4
select stddev(price), var_pop(rate), variance(price) from sale;

-- trap 4
-- tolerance: 1e-9
select stddev(factor), variance(ratio), var_pop(ratio), stddev_pop(factor) from sale;

-- trap 4: a mean that is large beside the deviation
-- tolerance: 1e-5
select variance(1e9 + ratio), stddev(1e8 + factor) from sale;

-- trap 4
select variance(num), stddev(num) from zoo where num between 0 and 2;

-- trap 4
select variance(f8), stddev(f4), variance(num) from zoo where abs(f8) < 1e150 or abs(f8) >= 'Infinity';

-- trap 4
select var_samp(qty), var_pop(qty), stddev(price) from sale where id = 5;

-- trap 3
-- tolerance: 1e-8
select corr(ratio, factor), covar_pop(ratio, factor), covar_samp(ratio, factor),
       regr_slope(ratio, factor), regr_intercept(ratio, factor), regr_r2(ratio, factor), regr_count(ratio, factor),
       regr_avgx(ratio, factor), regr_avgy(ratio, factor), regr_sxx(ratio, factor), regr_syy(ratio, factor), regr_sxy(ratio, factor)
from sale;

-- tolerance: 1e-8
select corr(qty, id), regr_slope(price, qty) from sale;

-- arm: combine
-- trap 17
select count(distinct qty), count(distinct customer_id) from sale;

-- trap 17
select count(distinct kind), sum(distinct qty), avg(distinct qty), count(*), sum(qty) from sale;

-- trap 17
select count(distinct id), sum(distinct id) from sale;

-- trap 17, trap 8
select count(distinct rate), count(distinct ratio), count(distinct status), count(distinct tag), count(distinct note) from sale;

-- trap 8
select count(distinct bp), count(distinct ci), count(distinct tn), count(distinct iv), count(distinct jb), count(distinct num), count(distinct f8), count(distinct na) from zoo;

-- trap 17
select min(distinct qty), max(distinct price), bool_and(distinct paid) from sale;

-- trap 17
select count(distinct (qty, kind)), count(distinct row(customer_id)) from sale;

-- trap 17
select count(distinct qty) filter (where paid), count(distinct qty) filter (where not paid), count(*) filter (where paid is null) from sale;

-- trap 17
select count(distinct upper(city)), sum(distinct price) filter (where price > 100) from sale;

-- arm: combine
select count(*) filter (where qty > 5), sum(price) filter (where paid), max(day) filter (where kind = 'happy'), avg(qty) filter (where false) from sale;

-- arm: combine
select sum(price * qty), sum(price * (1 - 0.07) * qty), avg(price + 1), sum(-price) from sale;

select sum(case when paid then price else 0 end), sum(case when paid then 1 end), count(case when qty > 3 then 1 end) from sale;

select sum(coalesce(price, 0)), max(coalesce(note, 'zzz')), sum(nullif(qty, 0)) from sale;

-- trap 19
select array_agg(id order by id) from sale where id between 1 and 30;

-- trap 19
select array_agg(qty order by qty desc nulls last, id) from sale where id < 40;

-- trap 19
select string_agg(note, ', ' order by note, id) from sale where id < 60;

-- trap 19
select string_agg(city, '|' order by city collate "C", id), string_agg(city, '|' order by city, id) from sale where id < 30;

-- trap 19
select string_agg(distinct code, ',' order by code) from sale;

-- trap 19
select array_agg(distinct qty order by qty), array_agg(distinct kind order by kind) from sale;

-- trap 19
select array_agg(id order by at, id), array_agg(price order by price desc nulls first, id) from sale where id between 100 and 140;

-- trap 19
select jsonb_agg(jsonb_build_object('id', id, 'p', price) order by id) from sale where id < 5;

-- trap 19
select jsonb_object_agg(id, qty), json_object_agg(id, note order by id) from sale where id between 1 and 9;

-- trap 19
select array_agg(ia order by k) from zoo where ia in ('{1,2}') and k < 50;

-- trap 19: the order of the argument alone does not matter here
select sum(qty order by id), max(price order by qty), count(*) from sale;

select percentile_cont(0.5) within group (order by price), percentile_disc(0.5) within group (order by qty) from sale;

select percentile_cont(array[0.1, 0.5, 0.9]) within group (order by qty), percentile_disc(0.25) within group (order by day) from sale;

select mode() within group (order by kind), mode() within group (order by paid desc) from sale;

select rank(5) within group (order by qty), dense_rank(5) within group (order by qty), cume_dist(5) within group (order by qty) from sale;

select longest(note), longest(city) from sale;

select sum_of_squares(id), sum_of_squares(qty) from sale;

select range_agg(r4) from zoo where not isempty(r4);

select range_agg(int4range(qty, qty + 2)) from sale where qty between 0 and 3 or qty > 9;

select range_intersect_agg(r4) from zoo where r4 @> 2;

select count(*) from sale having count(*) > 10;

select count(*) from sale having count(*) > 100000;

select 1 from sale having true;

select 'constant', count(*), 42 from sale;

-- a count of rows of nothing
select count(*) from sale where null;

select count(*), max(id) from (select id from sale) s;

-- an aggregate without rows of its own, over a replicated table
-- arm: single
-- trap 15, shipped 14
select count(*), sum(credit), avg(credit), min(name) from customer;

select xmlagg(xmlelement(name a, id) order by id)::text from sale where id < 4;

select max(id) - min(id), (max(day) - min(day)) / 7, max(at) - min(at) from sale;

select avg(qty)::numeric(10,2), round(avg(price), 3), round(avg(qty)), trunc(avg(id)) from sale;

-- trap 25
select sum(qty) / count(qty), sum(qty) % 7, sum(qty)::float8 / count(*) from sale;

select greatest(max(qty), min(qty)), least(max(price), 100), coalesce(max(note), '-'), nullif(count(*), 1000) from sale;

select case when count(*) > 10 then 'many' else 'few' end, array[min(qty), max(qty)], row(min(id), max(id)) from sale;

select to_char(sum(price), 'FM999,999,990.00'), to_char(max(day), 'YYYY-MM-DD Day') from sale;

-- error: 21000
select sum(qty) + (select qty from sale) from sale;

-- error: 42803
select sum(count(*)) from sale;

-- error: 22012
select sum(qty / (id - id)) from sale;

-- error: 22003
select sum((id::int4 + 2147483600)::int4) from sale;
