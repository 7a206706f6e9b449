-- Found by random statements (tests/integration/oracle/random.rs), made smaller.

-- The primary key that determines the other columns is none of the collected rows'.
-- unordered
select id, customer_id from sale s group by id;

-- trap 8: the rows of a set operation keep their collation
-- representative
-- unordered
select name as c1 from profile p where visitor > 'v2' union select tag from sale s;

-- An item of a grouping set in parentheses of its own.
-- representative
-- unordered
select s.kind, s.rate * 2 as c1, count(*) from sale s group by rollup (s.kind, (s.rate * 2));

-- unordered
select 'a'::text collate "C" as c1 union select code from sale s;

-- An alias of a CTE's select list is what it groups by.
-- unordered
with w1x as (select bp::text as c1, k, count(*) as c2 from zoo z where k > 7 and exists (select 1 from zoo z2 where z2.k = z.k and z2.k > 7) group by c1, k), w2x as (select d.c3 as c4 from (select sum(id) as c3 from sale s) d) select w.c1 from w1x w join zoo z3 on z3.k = w.k group by w.c1;

-- `*` shows the column of USING once.
-- unordered
select * from sale s join sale s2 using (id) join sale s3 on s3.id = s.id and (s3.id > 17 or s3.id > 17) order by s.id;

-- unordered
select d.c1 from (select id as c1, count(*) as c2 from sale s group by c1 order by 1, id limit 3) d;

-- What is sorted by needs not fit a decimal.
-- unordered
select z.wide as c1, z.k as c2 from zoo z left join zoo z2 on z2.k = z.k where z.k > 7 union all select price, id from sale s order by 1;

-- representative
-- tolerance: 1e-9
-- unordered
select r2.drift, stddev(r.drift) as c2 from reading r join reading r2 on r2.device = r.device group by r2.drift;

-- representative
-- unordered
select s.price, s.qty / 10 as c1, count(*) from sale s group by cube (s.price, (s.qty / 10));
