-- symptom: lists of columns in ROWS FROM could not be read
-- shard: t=id
-- setup
CREATE TABLE t (id int PRIMARY KEY, j jsonb);
INSERT INTO t SELECT i, jsonb_build_array(jsonb_build_object('a', i, 'b', 'x' || i % 3), jsonb_build_object('a', i % 4)) FROM generate_series(1, 20) i;
CREATE TABLE copies (id int PRIMARY KEY);
INSERT INTO copies SELECT i FROM generate_series(1, 5) i;
CREATE FUNCTION f_table(n int) RETURNS TABLE (a int, b text) LANGUAGE sql IMMUTABLE AS 'SELECT n, n::text UNION ALL SELECT 1, NULL';
CREATE FUNCTION f_plain(n int) RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'SELECT generate_series(1, n)';
CREATE FUNCTION f_count(n int) RETURNS SETOF bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t';
CREATE TYPE mood AS ENUM ('sad', 'happy');
-- query
-- answered
SELECT t.id, r.a, r.b FROM t, ROWS FROM (jsonb_to_recordset(t.j) AS (a int, b text)) r
-- query
-- answered
SELECT r.b, sum(r.a), count(r.n) FROM t CROSS JOIN LATERAL ROWS FROM (jsonb_to_recordset(t.j) AS (a numeric(9,2), b text), generate_series(1, 3)) WITH ORDINALITY AS r(a, b, n, o) GROUP BY r.b
-- query
-- answered
SELECT * FROM copies, ROWS FROM (f_table(id), f_plain(3))
-- query
-- answered
SELECT f_table.a, f_plain, count(*) FROM t, ROWS FROM (f_table(id % 3), f_plain(2)) GROUP BY 1, 2
-- query
-- answered
SELECT x, count(*) FROM t, ROWS FROM (f_plain(id % 4)) x GROUP BY x
-- query
-- answered
SELECT t.id, x.* FROM t, ROWS FROM (f_plain(id % 4), f_table(id)) AS x(n)
-- query
-- answered
SELECT * FROM ROWS FROM (json_to_recordset('[{"a": 1, "b c": [2]}]') AS (a int, "b c" int[]), f_plain(2)) WITH ORDINALITY
-- query
-- answered
SELECT count(*) FROM t JOIN ROWS FROM (json_to_record('{"k": 7}') AS (k int)) r ON r.k = t.id
-- query
-- refused: f_count
SELECT * FROM ROWS FROM (f_count(1), f_plain(2))
-- query
-- refused: cannot read
SELECT * FROM ROWS FROM (json_to_recordset('[{"m": "sad"}]') AS (m mood)) r
