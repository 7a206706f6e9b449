-- symptom: FETCH FIRST ROW ONLY without a number could not be parsed
-- shard: t=id
-- setup
CREATE TABLE t (id int PRIMARY KEY, v int);
INSERT INTO t SELECT i, i % 6 FROM generate_series(1, 36) i;
-- query
WITH x AS (SELECT id FROM t UNION ALL SELECT -1) SELECT * FROM x ORDER BY id FETCH FIRST ROW ONLY
-- query
SELECT id FROM t ORDER BY id DESC OFFSET 2 ROWS FETCH NEXT 3 ROWS ONLY
-- query
SELECT v FROM t ORDER BY v FETCH FIRST 4 ROW WITH TIES
-- query
SELECT id FROM t ORDER BY v USING >, id USING < LIMIT 5
-- query
SELECT id FROM t ORDER BY id OFFSET 30 LIMIT 4
-- query
SELECT 1671810147::CHARACTER VARYING || id::varchar(1) AS c, CAST(id AS DOUBLE PRECISION), v::dec(5,2), int4 '7', float8 '1e3', 'x'::char(3), id::int8::bit(4) FROM t WHERE id = 12
-- query
VALUES (1, 'a'), (2, NULL) ORDER BY 1 DESC
-- query
SELECT count(*) FROM (VALUES (1), (3), (99)) AS v(id) JOIN t USING (id)
-- query
TABLE t ORDER BY 1 LIMIT 2
-- query
SELECT ALL v FROM t WHERE id < 3 ORDER BY 1
-- query
select v "V", id as ID, v::text text, id id2 from T as TT where tt.ID = 6;
-- query
(((SELECT id FROM t WHERE id < 4))) ORDER BY 1
