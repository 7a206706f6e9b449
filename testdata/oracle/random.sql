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
