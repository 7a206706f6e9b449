-- Literals without a type, and bare NULLs, in set operations whose sides lie apart.

select id, null as x from sale where qty = 1 union all select id, 2.5 from region order by id, x;

select id, null as x, '2024-05-05' as d from sale where qty = 1 union all select n, fee, started::date from visit where n < 20 order by id, x, d;

select id, price, null::text as t from product union all select id, null, 'sale' from sale where qty = 2 order by id, t, price;

select x, count(*) from (select qty as x from sale union all select '7' union all select null from region) as u group by x order by x;

select day from sale where id < 3 union select '2024-01-03' union select null order by 1;

-- error: 42804
select coalesce(l.x, p.price) as v from (select id, null as x from sale) as l join product p using (id) where false union all select 1;

select 1 as a, null as b from sale where id = 1 union select 2, 3 from visit where n = 2 union select 3, 4.5 from region where id = 3 order by a;

select case when qty > 2 then null end as c, '' as e from sale where id < 4 intersect select null, parent::text from region;

-- pair by pair, from the left: the third side has no say in the first literal
select qty as x from sale where id < 5 union all select '7' union all select 2.5 from visit where n < 3;

select day as x from sale where id < 3 union all select '2024-01-03 10:00' from visit where n < 3 union all select timestamp '2024-01-03 11:00';

select '2024-01-03 10:00' as x from visit where n < 3 union all select timestamp '2024-01-03 11:00' from sale where id < 3 union all select date '2024-01-01' from item where sale_id < 3;

-- error: 42804
select null as x from sale union select null from visit union select 1;

select null as x from sale where id < 9 union select 'a' from visit where n < 9 union select name from region;

select x from (select null as x from sale where id < 5 union all (select null from visit where n < 5 union all select 3)) as u;

(select null as x, id from sale order by id limit 3) union all (select 2, n from visit order by n limit 2) union all select 1.5, 0 order by 2, 1;

(select 'x' as a, 1 as b union select 'y', null) except (select name, id from region union select 'x', null from sale) order by 1;

select null as a, 'b' as b, 3 as c from sale where id = 7 union all select zoo.ip, vb, i8 from zoo, visit where k = 1 and n = 3;

-- blanks at the end of char(n) are no part of it
-- representative
select status as s from sale where id < 7 union select 'new ' from visit union select 'new' from item;

select 'late  ' as r from sale where id < 3 union all select remark from item where sale_id < 5;

select 'ok' as m from sale where id < 2 union select kind from sale union select 'sad' from visit;

select dom as x from zoo where k < 4 union all select '1.5' from visit where n < 3 union all select null from sale where id = 3;

select pg_typeof(x), count(*) from (select dom as x from zoo union all select null from visit) as u group by 1;

select pg_typeof(x), count(*) from (select dom as x from zoo union all select 1 from visit) as u group by 1;

select '{1,2}' as a from sale where id = 1 union all select ia from zoo where k < 6 union all select null from visit where n = 1;

select array[null] as a from sale where id = 1 union all select ta from zoo where k < 6;

select '{"a": 1}' as j from sale where id = 1 union all select jb from zoo where k < 8;

-- unequal names, ordered by the first's
select null, id from sale where id = 5 union all select 4, 5 from visit where n = 1 order by 2;

select "?column?" from (select null, id from sale where id = 5 union all select 4, 5 from visit where n = 1) as u;

select distinct null as x, id from sale where id < 4 union all select 'a', n from visit where n < 3;

select e'a\tb' as x from sale where id = 1 union all select u&'d\0061t' from visit where n = 1 union all select name from region where id = 1;

select name from region where id = 1 union all select $$it's$$ from sale where id = 1 union all select 'it''s' from visit where n = 1;

values (1, null), (2, '3') union all select qty, kind::text from sale where id < 6;

select v.column2 from (values (1, null), (2, 3.5)) as v join sale on id = column1 union all select null from visit where n < 3;

select u.x, s.id from (select id, null as x from product where id < 9 union all select id, qty from sale where id < 9) as u join sale s on s.id = u.id where s.id < 9;

select (select x from (select null as x, 1 as o from sale where id = 1 union all select 2, 2 from visit where n = 1) as u order by o desc limit 1) as y;

select id in (select null from visit union select 4 from item) from sale where id < 6;

select s.id, l.x from sale s, lateral (select null as x from item where sale_id = s.id union all select s.qty) as l where s.id < 9;

with u as (select null as x from sale where id < 4 union all select 1.5 from visit where n < 3) select * from u union all select '9' from item where sale_id < 3 order by 1;

with recursive r (n, x) as (select 1, null::int4 union all select n + 1, qty from r join sale on id = n where n < 4) select * from r union all select null, '6' from visit where n < 3;

-- error: 42804
select id, qty, null as x from sale where id < 4 union all select n, null, '2' from visit where n < 3 union all select line, 7.5, sale_id from item where sale_id < 3;

select null as a from sale where id < 3 intersect all select null from visit where n < 4;

select '1' as a from sale where id < 3 except select id from region;

-- grouping sets over what only hashes and what only sorts
select x, f, count(*) from (select (n % 3)::text::xid as x, fee as f from visit where n < 40) as v group by grouping sets ((x), (f));

select (qty % 3)::text::xid as x, (qty % 2)::bit(2) as b, count(*) from sale where qty >= 0 group by grouping sets ((1), (2), ());

-- error: 0A000
select (qty % 3)::text::xid as x, (qty % 2)::bit(2) as b, count(*) from sale where qty >= 0 group by cube (1, 2);

-- error: 0A000
select (qty % 3)::text::xid as x, (qty % 2)::bit(2) as b, count(*) from sale where qty >= 0 group by 1, 2;

-- error: 0A000
select (qty % 3)::text::xid as x, count(distinct paid), count(*) from sale where qty >= 0 group by 1;

select id, qty, null as x from sale where id < 4 union all select n, null, 2 from visit where n < 3 union all select line, 7.5, '3' from item where sale_id < 3;

select (qty % 3)::text::xid as x, count(*), sum(qty) from sale where qty >= 0 group by 1;
