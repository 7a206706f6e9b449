-- symptom: the alias of a function in FROM, as an expression, was taken for a column of its name: "column i.i does not exist", a fault
-- shard: ev=id tags=id
-- setup
CREATE TABLE ev (id int PRIMARY KEY, p jsonb);
INSERT INTO ev SELECT i, jsonb_build_object('items', jsonb_build_array(i, jsonb_build_object('x', i % 3))) FROM generate_series(1, 20) i;
CREATE TABLE copies (id int PRIMARY KEY);
INSERT INTO copies SELECT i FROM generate_series(1, 5) i;
CREATE TYPE pair AS (a int, b text);
CREATE TYPE lone AS (a int);
CREATE TABLE tags (id int PRIMARY KEY, ta text[], ni int[], pa pair[], v tsvector);
INSERT INTO tags SELECT i, ARRAY['a', 'b' || i % 3], ARRAY[i, i % 4], ARRAY[(i, 'x')::pair], to_tsvector('simple', 'one two ' || i) FROM generate_series(1, 20) i;
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
-- query
-- answered
SELECT id % 2 AS par, count(*) FROM tags, unnest(ta) tag GROUP BY par
-- query
-- answered
SELECT t.id % 4 AS grp, count(*) FROM tags t JOIN generate_series(1, 3) s ON s = t.id % 5 GROUP BY grp
-- query
-- answered
SELECT tag AS name, count(*) FROM tags, unnest(ta) tag GROUP BY name
-- query
-- answered
SELECT tag AS name, count(*) FROM tags, unnest(ta) tag GROUP BY rollup(name)
-- query
-- answered
SELECT n AS dd, count(t.id) FROM generate_series(1, 5) n LEFT JOIN tags t ON t.id % 7 = n GROUP BY dd ORDER BY dd
-- query
-- answered
SELECT n % 2 AS m, count(t.id) FROM generate_series(1, 5) n LEFT JOIN tags t ON t.id % 7 = n GROUP BY m ORDER BY m
-- query
-- answered
SELECT x % 2 AS par, count(*) FROM tags, f_plain(id % 3) x GROUP BY par
-- query
-- answered
SELECT upper(part) AS u, count(*) FROM tags, string_to_table('a,b', ',') part GROUP BY u
-- query
-- answered
SELECT key, count(*) FROM ev, jsonb_object_keys(p) key GROUP BY key
-- query
-- answered
SELECT tag, ordinality AS place, count(*) FROM tags, unnest(ta) WITH ORDINALITY tag GROUP BY tag, place
-- query
-- answered
SELECT tag, ordinality AS place, count(*) FROM tags, unnest(ta) WITH ORDINALITY AS x(tag) GROUP BY tag, place
-- query
-- answered
SELECT a.n, b.n, count(*) FROM tags, unnest(ni) n JOIN (SELECT 1 AS k) one ON true, LATERAL (SELECT n FROM generate_series(1, 2) n) b, LATERAL (SELECT n) a GROUP BY 1, 2
-- query
-- answered
SELECT tag, count(*) FROM tags, unnest(ta) tag WHERE EXISTS (SELECT FROM unnest(ARRAY['a']) tag WHERE tag = 'a') GROUP BY tag
-- query
-- answered
SELECT u, count(*) FROM tags, unnest(ARRAY[id % 2, 5]) u GROUP BY u
-- query
-- answered
SELECT u AS u2, count(*) FROM tags, unnest('{x,y}'::text[] || ta) u GROUP BY u2
-- query
-- answered
SELECT * FROM tags, unnest(ta) tag
-- query
-- answered
SELECT tag.* FROM tags, unnest(ta) tag
-- query
-- answered
SELECT count(*) FROM tags WHERE (SELECT count(*) FROM generate_series(1, 3) WHERE id > 2) = 3
-- query
SELECT id % 2 AS par, count(*) FROM tags, unnest(pa) x GROUP BY par
-- query
SELECT a AS par, count(*) FROM tags, unnest(pa) x GROUP BY par
-- query
SELECT lexeme, count(*) FROM tags, unnest(v) GROUP BY lexeme
-- query
SELECT lexeme AS x, count(*) FROM tags, unnest(v) l GROUP BY x
-- query
SELECT x.a, count(*) FROM tags, unnest(pa) x GROUP BY x.a
-- query
SELECT x, count(*) FROM tags, unnest(ta, ni) u(x, y) GROUP BY x
