-- symptom: ORDER BY .. USING of other operators than < and > could not be read
-- shard: t=id
-- setup
CREATE TABLE t (id int PRIMARY KEY, s text, c char(4), v varchar(5), g int);
INSERT INTO t SELECT i, (array['a', 'B', 'b', 'A', 'é', '_', NULL, 'a b', 'ab'])[1 + i % 9], (array['x', 'X', 'y '])[1 + i % 3], 'v' || i * 7 % 30, i % 4 FROM generate_series(1, 45) i;
CREATE TABLE copies (id int PRIMARY KEY, s text);
INSERT INTO copies SELECT i, chr(60 + i * 17 % 60) FROM generate_series(1, 30) i;
-- query
-- answered
SELECT id, s FROM t ORDER BY s USING ~<~, id USING OPERATOR(pg_catalog.>)
-- query
-- answered
SELECT id, s FROM t ORDER BY s USING ~>~ NULLS LAST, id LIMIT 12
-- query
-- answered
SELECT id, c, v FROM t ORDER BY c USING ~<~, v USING OPERATOR(pg_catalog.~>~), id
-- query
-- answered
SELECT g, string_agg(s, ',' ORDER BY s USING ~<~, id) FROM t GROUP BY g
-- query
-- answered
SELECT id, row_number() OVER (PARTITION BY g ORDER BY s || v USING ~>~, id), first_value(v) OVER w FROM t WINDOW w AS (ORDER BY v USING ~<~, id)
-- query
-- answered
SELECT upper(s) AS s, id FROM t ORDER BY s USING ~<~, 2
-- query
-- answered
SELECT lower(v) AS x, count(*) FROM t GROUP BY x ORDER BY 1 USING ~>~
-- query
-- answered
SELECT mode() WITHIN GROUP (ORDER BY s USING ~>~) FROM copies
-- query
-- answered
SELECT x.s, t.id FROM (SELECT s FROM copies ORDER BY s USING ~<~ LIMIT 5) x JOIN t ON t.s = x.s
-- query
-- refused: USING
SELECT DISTINCT s FROM t ORDER BY s USING ~<~
-- query
-- refused: USING
SELECT s FROM t UNION SELECT s FROM copies ORDER BY s USING ~<~
-- query
-- refused: USING
SELECT array_agg(DISTINCT s ORDER BY s USING ~<~) FROM t
