-- Every type through every arm: rows, sorted rows, groups, and what is gathered.

-- arm: union
-- trap 21, trap 22, trap 26
select * from zoo;

-- arm: ordered
select * from zoo order by k;

-- collected rows of every type
select z.*, row_number() over (order by k) from zoo z;

select * from zoo where g = (select max(g) - 1 from zoo);

select a.*, b.num from zoo a join zoo b on b.k = a.k + 1 where a.k < 120;

-- arm: union
select * from sale;

-- arm: union
select * from visit;

-- arm: union
select * from reading;

select s.*, count(*) over () from sale s where id < 150;

select r.*, lag(r.doc) over (partition by state order by device, seq) from reading r;

select v.*, rank() over (order by score) from visit v;

select g, array_agg(f8 order by k), array_agg(num order by k), array_agg(d order by k) from zoo group by g;

select g, array_agg(en order by k), array_agg(tx order by k), array_agg(by order by k), array_agg(uu order by k) from zoo group by g;

select g, array_agg(comp order by k), array_agg(r4 order by k), array_agg(jb order by k), array_agg(iv order by k) from zoo group by g;

select g, count(*), min(comp::text), max(mr::text), min(grid::text), max(js::text) from zoo group by g;

select g, min(i2), max(i4), min(i8), max(f4), min(f8), max(dec), min(wide), max(dom), min(cash) from zoo group by g;

select g, min(tx), max(tc), min(ti), max(vc), min(d), max(tm), min(tz), max(ts), min(tt), max(t0) from zoo group by g;

select g, max(ia), min(ta), max(ens), min(ip), max(oi), min(en) from zoo group by g;

select g, sum(i2), sum(i4), sum(i8), sum(dec), sum(wide), sum(dom), sum(cash) filter (where cash < '$1000'), sum(num) from zoo group by g;

select g, avg(i2), avg(i4), avg(i8), avg(dec), avg(wide), avg(dom), avg(iv), sum(iv) from zoo group by g;

-- trap 2: the scale of an average of numbers of any size
select g, avg(dec / 7), avg(wide * 3), avg(i8::numeric), avg(k) from zoo group by g;

-- trap 1
select sum(i2::int2), sum(i4::int4), sum(i8::int8), sum(k::float4), sum(k::float8), sum(k::numeric(10,3)), sum(k * interval '1 min') from zoo where i8 < 100;

select k, num::text, f8::text, d::text, iv::text, comp::text, ia::text from zoo where k < 20;

select (comp).x, (comp).y, count(*) from zoo group by (comp).x, (comp).y;

select k, (comps[1]).y, ia[1], ta[2], grid[1:1], jb -> 'a', r4 @> 2, lower(rd) from zoo where k < 60;

select lower(r4), upper(r4), count(*) from zoo group by 1, 2;

select pg_typeof(sum(i4)), pg_typeof(sum(i8)), pg_typeof(avg(i2)), pg_typeof(avg(f4)), pg_typeof(sum(f4)), pg_typeof(max(cash)), pg_typeof(max(en)), pg_typeof(sum(dom)) from zoo;

-- trap 1
select pg_typeof(count(*)), pg_typeof(sum(dec)), pg_typeof(stddev(i4)), pg_typeof(stddev(f4)), pg_typeof(min(vc)), pg_typeof(max(bp)), pg_typeof(min(ip)), pg_typeof(avg(iv)) from zoo;

select dec, dom, wide, count(*) from zoo group by dec, dom, wide;

select dec::numeric(20,4), sum(dec)::numeric(20,2) from zoo group by dec::numeric(20,4);

select vc, nm, bp, count(*) from zoo group by vc, nm, bp having count(*) > 6;

-- trap 9: infinity counts, and no silent finite value
select count(*) filter (where isfinite(d)), count(*) filter (where not isfinite(ts)), max(d) from zoo;

select d, count(*) from zoo group by d order by d;

select ts, count(*) from zoo group by ts order by ts nulls first;

-- trap 21
select date_trunc('day', tt), tt::date, tt::timestamp, count(*) from zoo where isfinite(tt) group by 1, 2, 3;

-- trap 21: summer time begins between these
select date_trunc('hour', taken), count(*) from reading where device = 'dev-7' group by 1 order by 1;

-- trap 21
select max(taken)::date, min(taken)::text, max(taken) at time zone 'UTC', extract(epoch from max(taken)) from reading;

select by, length(by), encode(by, 'hex'), count(*) from zoo group by by;

select uu, count(*), min(k) from zoo group by uu order by uu;

select pt::text, count(*) from zoo group by pt::text;

select js::text, jb::text, count(*) from zoo group by js::text, jb::text;

select k, jb from zoo where jb @> '{"a": 1}';

select k, ia from zoo where ia && array[2] and ta is not null;

select k, mr, r4 from zoo where mr @> 2 or r4 && int4range(1, 3);

select k from zoo where ip << '10.0.0.0/8' or ip = '::1';

select array[i2, i4], array[tx, vc], row(k, en), array[en] from zoo where k < 30;

select array_agg(array[k, g] order by k) from zoo where k < 9;

select g, jsonb_agg(comp order by k), json_agg(row(k, d) order by k) from zoo where k < 30 group by g;

select null, null::int4, 'unknown', count(*) from zoo;

-- domain, enum and composite in expressions over groups
select en::text || '!', max(dom) + 1, (array_agg(comp order by k))[1] from zoo group by en;

select 'ok'::mood = en, en > 'sad', count(*) from zoo group by 1, 2;

select xmlelement(name z, k)::text, format('%s-%s', g, en) from zoo where k < 9;

-- trap 23: types without a binary form
select id, 'postgres=r/postgres'::aclitem, 'a:1'::tsvector, 'a & b'::tsquery from sale where id < 4;

select '1'::xid, '(1,2)'::tid, '0/16'::pg_lsn, 'sale'::regclass, 'int4'::regtype, count(*) from zoo;
