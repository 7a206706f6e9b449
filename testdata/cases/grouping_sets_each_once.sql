-- symptom: GROUP BY DISTINCT could not be read
-- shard: t=id
-- setup
CREATE TABLE t (id int PRIMARY KEY, a int, b text, d date);
INSERT INTO t SELECT i, nullif(i % 4, 3), 'b' || i % 3, date '2024-01-01' + i * 20 FROM generate_series(1, 40) i;
CREATE TABLE copies (id int PRIMARY KEY, a int, b text);
INSERT INTO copies SELECT i, i % 3, 'c' || i % 2 FROM generate_series(1, 12) i;
-- query
-- answered
SELECT a, b, count(*), grouping(a, b) FROM t GROUP BY DISTINCT ROLLUP (a, b), ROLLUP (a)
-- query
-- answered
SELECT a, b, count(*) FROM t GROUP BY DISTINCT GROUPING SETS ((a, b), (b, a), (b), ()), CUBE (b)
-- query
-- answered
SELECT a, b, sum(id) FROM t GROUP BY DISTINCT a, b, a
-- query
-- answered
SELECT b AS a, a AS x, count(*) FROM t GROUP BY DISTINCT ROLLUP (1, x), ROLLUP (b) ORDER BY 1, 2, 3
-- query
-- answered
SELECT extract(month FROM d) AS m, b, count(*) FROM t GROUP BY DISTINCT ROLLUP (m, (b)), ROLLUP (extract(month FROM d)) HAVING count(*) > 1
-- query
-- answered
SELECT a, b, count(*), grouping(a) FROM copies GROUP BY DISTINCT CUBE (a, b), CUBE (b, a)
-- query
-- answered
SELECT * FROM (SELECT a, b, count(*) AS c FROM t GROUP BY DISTINCT ROLLUP (a, b), b) x JOIN copies USING (a)
-- query
-- refused: may be one key
SELECT a, count(*) FROM t GROUP BY DISTINCT ROLLUP (a, a::int)
-- query
-- refused: merges
SELECT a, count(*) FROM t JOIN copies USING (a) GROUP BY DISTINCT ROLLUP (t.a), ROLLUP (a)
