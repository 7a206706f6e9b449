-- symptom: the alias of a function in FROM, as an expression, was taken for a column of its name: "column i.i does not exist", a fault
-- shard: ev=id
-- setup
CREATE TABLE ev (id int PRIMARY KEY, p jsonb);
INSERT INTO ev SELECT i, jsonb_build_object('items', jsonb_build_array(i, jsonb_build_object('x', i % 3))) FROM generate_series(1, 20) i;
CREATE TABLE copies (id int PRIMARY KEY);
INSERT INTO copies SELECT i FROM generate_series(1, 5) i;
CREATE TYPE pair AS (a int, b text);
CREATE TYPE lone AS (a int);
CREATE FUNCTION f_table(n int) RETURNS TABLE (a int, b text) LANGUAGE sql IMMUTABLE AS 'SELECT n, n::text';
CREATE FUNCTION f_out(n int, OUT lo int) LANGUAGE sql IMMUTABLE AS 'SELECT n - 1';
CREATE FUNCTION f_set(n int, OUT lo int) RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'SELECT generate_series(1, n)';
CREATE FUNCTION f_two(n int, OUT lo int, OUT hi int) LANGUAGE sql IMMUTABLE AS 'SELECT n - 1, n + 1';
CREATE FUNCTION f_pair(n int) RETURNS pair LANGUAGE sql IMMUTABLE AS 'SELECT n, ''p''';
CREATE FUNCTION f_lone(n int) RETURNS lone LANGUAGE sql IMMUTABLE AS 'SELECT n';
CREATE FUNCTION f_plain(n int) RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'SELECT generate_series(1, n)';
-- query
-- answered
SELECT e.id, i ->> 'x' FROM ev e CROSS JOIN LATERAL jsonb_array_elements(e.p -> 'items') i
-- query
-- answered
SELECT e.id, i ->> 'x' AS x FROM ev e LEFT JOIN LATERAL jsonb_array_elements(e.p -> 'items') i ON true WHERE i ->> 'x' = '1'
-- query
-- answered
SELECT i ->> 'x' AS x, count(*) FROM ev e, LATERAL jsonb_array_elements(e.p -> 'items') i GROUP BY 1
-- query
-- answered
SELECT count(*) FROM copies c, LATERAL jsonb_array_elements('[{"x": 1}]') i WHERE (i ->> 'x')::int = c.id
-- query
-- answered
SELECT e.id, value, ordinality FROM ev e, jsonb_array_elements(e.p -> 'items') WITH ORDINALITY
-- query
-- answered
SELECT e.id, i.value, i.ordinality FROM ev e, LATERAL jsonb_array_elements(e.p -> 'items') WITH ORDINALITY i
-- query
SELECT e.id, i FROM ev e, jsonb_array_elements(e.p -> 'items') WITH ORDINALITY i
-- query
SELECT e.id, k FROM ev e, LATERAL jsonb_each(e.p) k
-- query
-- answered
SELECT e.id, k.key, k.value FROM ev e, LATERAL jsonb_each(e.p) k
-- query
-- answered
SELECT e.id, f.a, f.b FROM ev e, f_table(e.id % 3) f
-- query
SELECT e.id, f FROM ev e, f_table(e.id % 3) f
-- query
-- answered
SELECT e.id, f FROM ev e, f_out(e.id) f
-- query
-- answered
SELECT f, count(*) FROM ev e, f_set(e.id % 3) f GROUP BY f
-- query
-- answered
SELECT lo, count(*) FROM ev e, LATERAL f_set(e.id % 3) AS f GROUP BY lo
-- query
SELECT e.id, f FROM ev e, f_two(e.id) f
-- query
-- answered
SELECT f.hi, count(*) FROM ev e, f_two(e.id % 4) f GROUP BY 1
-- query
SELECT e.id, f FROM ev e, f_pair(e.id) f
-- query
-- answered
SELECT f.b, sum(f.a) FROM ev e, f_pair(e.id) f GROUP BY 1
-- query
SELECT e.id, f FROM ev e, f_lone(e.id) f
-- query
-- answered
SELECT a, count(*) FROM ev e, f_lone(e.id % 3) f GROUP BY a
-- query
-- answered
SELECT f, count(*) FROM ev e, f_plain(e.id % 4) f GROUP BY f
-- query
-- answered
SELECT f.f, count(*) FROM ev e CROSS JOIN LATERAL f_plain(e.id % 4) f GROUP BY 1
-- query
-- answered
SELECT g, o, count(*) FROM ev e, f_plain(e.id % 4) WITH ORDINALITY AS f(g, o) GROUP BY 1, 2
-- query
SELECT count(DISTINCT f) FROM ev e, f_table(e.id % 3) f
-- query
-- answered
SELECT c.id, f.a FROM copies c, f_table(c.id) f WHERE EXISTS (SELECT 1 FROM ev e WHERE e.id = f.a)
