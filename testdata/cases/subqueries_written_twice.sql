-- symptom: a subquery that is written twice got two aliases, and was no longer the same expression: refused, or a fault of ours
-- shard: t=k u=k
-- setup
CREATE TABLE t (k int NOT NULL, v int NOT NULL, g int, PRIMARY KEY (k, v));
CREATE TABLE u (k int NOT NULL, tv int NOT NULL);
CREATE TABLE r (id int PRIMARY KEY, name text, born date);
CREATE VIEW counted AS SELECT g, count(*) AS n FROM t GROUP BY g;
CREATE VIEW named AS SELECT id, 'v' || name AS n FROM r;
INSERT INTO t SELECT i % 5, i, nullif(i % 4, 3) FROM generate_series(1, 30) i;
INSERT INTO u SELECT i % 7, i * 2 FROM generate_series(1, 12) i WHERE i % 7 <> 3;
INSERT INTO r VALUES (0, 'n0', '2001-01-01'), (1, 'n1', '2001-01-02'), (2, 'n0', '2001-01-03');
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g) AS n, count(*) FROM t GROUP BY (SELECT name FROM r WHERE r.id = t.g)
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g) AS n, count(*), avg(v) FROM t GROUP BY (SELECT name FROM r WHERE r.id = t.g) HAVING (SELECT name FROM r WHERE r.id = t.g) <> 'n1' ORDER BY (SELECT name FROM r WHERE r.id = t.g) DESC
-- query
-- answered
SELECT count(*) FROM t GROUP BY (SELECT name FROM r WHERE r.id = t.g) ORDER BY upper((SELECT name FROM r WHERE r.id = t.g)) || 'x', count(*)
-- query
-- answered
SELECT upper((SELECT name FROM r WHERE r.id = t.g)), length((SELECT name FROM r WHERE r.id = t.g)), count(*) FROM t GROUP BY upper((SELECT name FROM r WHERE r.id = t.g)), length((SELECT name FROM r WHERE r.id = t.g)) ORDER BY upper((SELECT name FROM r WHERE r.id = t.g)), length((SELECT name FROM r WHERE r.id = t.g))
-- query
-- answered
SELECT k, (SELECT name FROM r WHERE r.id = t.g), count(*) FROM t GROUP BY k, (SELECT name FROM r WHERE r.id = t.g) ORDER BY k, (SELECT name FROM r WHERE r.id = t.g)
-- query
-- answered
SELECT DISTINCT (SELECT name FROM r WHERE r.id = t.g) AS n FROM t ORDER BY (SELECT name FROM r WHERE r.id = t.g)
-- query
-- answered
SELECT DISTINCT k, (SELECT name FROM r WHERE r.id = t.g) FROM t ORDER BY (SELECT name FROM r WHERE r.id = t.g), k
-- query
-- answered
SELECT DISTINCT ON ((SELECT name FROM r WHERE r.id = t.g)) k, v FROM t ORDER BY (SELECT name FROM r WHERE r.id = t.g), v, k
-- query
-- answered
SELECT DISTINCT ON ((SELECT name FROM r WHERE r.id = t.g)) (SELECT name FROM r WHERE r.id = t.g), v FROM t ORDER BY (SELECT name FROM r WHERE r.id = t.g), v
-- query
-- answered
SELECT DISTINCT ON (k, (SELECT name FROM r WHERE r.id = t.g)) k, v FROM t ORDER BY k, (SELECT name FROM r WHERE r.id = t.g), v DESC
-- query
-- answered
SELECT string_agg(DISTINCT (SELECT name FROM r WHERE r.id = t.g), ',' ORDER BY (SELECT name FROM r WHERE r.id = t.g)) FROM t
-- query
-- answered
SELECT g, string_agg(DISTINCT (SELECT name FROM r WHERE r.id = t.g), ',' ORDER BY (SELECT name FROM r WHERE r.id = t.g) DESC), count(DISTINCT (SELECT name FROM r WHERE r.id = t.g)), max((SELECT name FROM r WHERE r.id = t.g)) FROM t GROUP BY g ORDER BY g, max((SELECT name FROM r WHERE r.id = t.g))
-- query
-- answered
SELECT k, array_agg(DISTINCT (SELECT name FROM r WHERE r.id = t.g) ORDER BY (SELECT name FROM r WHERE r.id = t.g)) FROM t GROUP BY k
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g), rank() OVER (ORDER BY (SELECT name FROM r WHERE r.id = t.g)) FROM t GROUP BY (SELECT name FROM r WHERE r.id = t.g) ORDER BY 2, 1
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g), sum(count(*)) OVER (PARTITION BY (SELECT name FROM r WHERE r.id = t.g)) FROM t GROUP BY (SELECT name FROM r WHERE r.id = t.g), g ORDER BY 1, 2
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g), dense_rank() OVER w FROM t GROUP BY (SELECT name FROM r WHERE r.id = t.g) WINDOW w AS (ORDER BY (SELECT name FROM r WHERE r.id = t.g) DESC) ORDER BY 1
-- query
-- answered
SELECT v, rank() OVER (PARTITION BY (SELECT name FROM r WHERE r.id = t.g) ORDER BY v) FROM t ORDER BY (SELECT name FROM r WHERE r.id = t.g), v
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g), k % 2, grouping((SELECT name FROM r WHERE r.id = t.g)), count(*) FROM t GROUP BY ROLLUP ((SELECT name FROM r WHERE r.id = t.g), k % 2) ORDER BY 1, 2, 3
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g) || '!', count(*) FROM t GROUP BY GROUPING SETS (((SELECT name FROM r WHERE r.id = t.g) || '!'), ()) ORDER BY 1, 2
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g) AS n, g, count(*) FROM t GROUP BY CUBE ((SELECT name FROM r WHERE r.id = t.g), g) HAVING (SELECT name FROM r WHERE r.id = t.g) IS NOT NULL OR count(*) > 3 ORDER BY (SELECT name FROM r WHERE r.id = t.g), 2, 3
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g) AS n, count(*) FROM t WHERE (SELECT name FROM r WHERE r.id = t.g) <> 'n0' GROUP BY (SELECT name FROM r WHERE r.id = t.g)
-- query
-- answered
SELECT v FROM t ORDER BY (SELECT name FROM r WHERE r.id = t.g), v LIMIT 5
-- query
-- answered
SELECT v, (SELECT name FROM r WHERE r.id = t.g) AS n FROM t ORDER BY (SELECT name FROM r WHERE r.id = t.g), v LIMIT 5
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g), count(*) FROM t GROUP BY (SELECT r.name FROM r WHERE id = g)
-- query
-- answered
SELECT ((SELECT name FROM r WHERE r.id = t.g)), count(*) FROM t GROUP BY (((SELECT name FROM r WHERE (r.id = t.g))))
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g) AS n, count(*) FROM t GROUP BY n ORDER BY n
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g) AS n, count(*) FROM t GROUP BY 1 ORDER BY (SELECT name FROM r WHERE r.id = t.g)
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g) AS g, count(*) FROM t GROUP BY (SELECT name FROM r WHERE r.id = t.g), t.g ORDER BY (SELECT name FROM r WHERE r.id = g), 2
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g) AS n, count(*) FROM t GROUP BY (SELECT name FROM r WHERE r.id = t.g) ORDER BY n
-- query
-- answered
SELECT (SELECT max(id) FROM r), count(*) FROM t GROUP BY (SELECT max(id) FROM r)
-- query
-- answered
SELECT g + (SELECT max(id) FROM r), count(*) FROM t GROUP BY g + (SELECT max(id) FROM r) ORDER BY g + (SELECT max(id) FROM r)
-- query
-- answered
SELECT DISTINCT ON ((SELECT max(id) FROM r)) v FROM t ORDER BY (SELECT max(id) FROM r), v
-- query
-- answered
SELECT DISTINCT g IN (SELECT id FROM r WHERE name = 'n0') FROM t ORDER BY g IN (SELECT id FROM r WHERE name = 'n0')
-- query
-- answered
SELECT DISTINCT ON (g IN (SELECT id FROM r WHERE name = 'n0')) k FROM t ORDER BY g IN (SELECT id FROM r WHERE name = 'n0'), k, v
-- query
-- answered
SELECT k, g IN (SELECT id FROM r), count(*) FROM t GROUP BY k, g IN (SELECT id FROM r) ORDER BY 1, 2
-- query
-- answered
SELECT g = ANY (SELECT id FROM r), g <> ALL (SELECT id FROM r), count(*) FROM t GROUP BY g = ANY (SELECT id FROM r), g <> ALL (SELECT id FROM r) ORDER BY 1, 2
-- query
-- answered
SELECT ARRAY(SELECT name FROM r ORDER BY name, id), count(*) FROM t GROUP BY ARRAY(SELECT name FROM r ORDER BY name, id)
-- query
-- answered
SELECT CASE WHEN k IN (SELECT k FROM u) THEN 'in' ELSE 'out' END, count(*) FROM t GROUP BY CASE WHEN k IN (SELECT k FROM u) THEN 'in' ELSE 'out' END
-- query
-- answered
SELECT EXISTS (SELECT 1 FROM u WHERE u.k = t.k), count(*) FROM t GROUP BY EXISTS (SELECT 1 FROM u WHERE u.k = t.k) ORDER BY 1
-- query
-- answered
SELECT EXISTS (SELECT 1 FROM u WHERE u.tv = t.v), count(*) FROM t GROUP BY EXISTS (SELECT 1 FROM u WHERE u.tv = t.v) ORDER BY 1
-- query
-- answered
SELECT NOT EXISTS (SELECT 1 FROM u WHERE u.tv = t.v), count(*) FROM t GROUP BY NOT EXISTS (SELECT 1 FROM u WHERE u.tv = t.v) HAVING NOT EXISTS (SELECT 1 FROM u WHERE u.tv = t.v)
-- query
-- answered
SELECT (SELECT count(*) FROM u), count(*) FROM t GROUP BY (SELECT count(*) FROM u)
-- query
-- answered
SELECT (SELECT count(*) FROM u WHERE u.tv = t.v), count(*) FROM t GROUP BY (SELECT count(*) FROM u WHERE u.tv = t.v) ORDER BY (SELECT count(*) FROM u WHERE u.tv = t.v)
-- query
-- answered
SELECT DISTINCT (SELECT count(*) FROM u) + g FROM t ORDER BY (SELECT count(*) FROM u) + g
-- query
-- answered
SELECT DISTINCT ON (v > (SELECT avg(tv) FROM u)) v > (SELECT avg(tv) FROM u), v FROM t ORDER BY v > (SELECT avg(tv) FROM u), v
-- query
-- answered
SELECT DISTINCT ON ((SELECT max(tv) FROM u WHERE u.k = t.k)) (SELECT max(tv) FROM u WHERE u.k = t.k), v FROM t ORDER BY (SELECT max(tv) FROM u WHERE u.k = t.k), v
-- query
-- answered
SELECT v > (SELECT avg(x.v) FROM t x), count(*) FROM t GROUP BY v > (SELECT avg(x.v) FROM t x) ORDER BY 1
-- query
-- answered
SELECT v, v > (SELECT avg(x.v) FROM t x) FROM t ORDER BY v > (SELECT avg(x.v) FROM t x), v
-- query
-- answered
SELECT (SELECT max(tv) FROM u), (SELECT max(tv) FROM u) FROM t
-- query
-- answered
SELECT v IN (SELECT tv FROM u), v = (SELECT tv FROM u ORDER BY tv LIMIT 1), (SELECT max(tv) FROM u) IN (SELECT tv FROM u) FROM t WHERE v IN (SELECT tv FROM u)
-- query
-- answered
SELECT v, (SELECT n FROM (SELECT tv % 3 AS g, count(*) AS n FROM u GROUP BY tv % 3) s WHERE s.g = t.g) FROM t ORDER BY (SELECT n FROM (SELECT tv % 3 AS g, count(*) AS n FROM u GROUP BY tv % 3) s WHERE s.g = t.g), v
-- query
-- answered
SELECT (SELECT n FROM (SELECT tv % 3 AS g, count(*) AS n FROM u GROUP BY tv % 3) s WHERE s.g = t.g), count(*) FROM t GROUP BY (SELECT n FROM (SELECT tv % 3 AS g, count(*) AS n FROM u GROUP BY tv % 3) s WHERE s.g = t.g)
-- query
-- answered
SELECT g, string_agg(DISTINCT (SELECT max(u.tv)::text FROM u WHERE u.tv <= t.v), ',' ORDER BY (SELECT max(u.tv)::text FROM u WHERE u.tv <= t.v)) FROM t GROUP BY g
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = (SELECT min(x.id) FROM r x WHERE x.id >= t.g)), count(*) FROM t GROUP BY (SELECT name FROM r WHERE r.id = (SELECT min(x.id) FROM r x WHERE x.id >= t.g))
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = (SELECT count(*) FROM u WHERE u.tv = t.v)), count(*) FROM t GROUP BY (SELECT name FROM r WHERE r.id = (SELECT count(*) FROM u WHERE u.tv = t.v)) ORDER BY 1
-- query
-- answered
SELECT v FROM t WHERE v IN (SELECT max(x.v) FROM t x GROUP BY (SELECT name FROM r WHERE r.id = x.g) HAVING (SELECT name FROM r WHERE r.id = x.g) <> 'n1')
-- query
-- answered
SELECT (SELECT s.n FROM (SELECT (SELECT name FROM r WHERE r.id = u.tv % 3) AS n FROM u GROUP BY (SELECT name FROM r WHERE r.id = u.tv % 3)) s ORDER BY 1 LIMIT 1), count(*) FROM t GROUP BY (SELECT s.n FROM (SELECT (SELECT name FROM r WHERE r.id = u.tv % 3) AS n FROM u GROUP BY (SELECT name FROM r WHERE r.id = u.tv % 3)) s ORDER BY 1 LIMIT 1)
-- query
-- answered
SELECT s.n, s.c, r.id FROM (SELECT (SELECT name FROM r WHERE r.id = t.g) AS n, count(*) AS c FROM t GROUP BY (SELECT name FROM r WHERE r.id = t.g)) s JOIN r ON r.name = s.n ORDER BY 1, 2, 3
-- query
-- answered
WITH s AS (SELECT (SELECT name FROM r WHERE r.id = t.g) AS n, count(*) AS c FROM t GROUP BY (SELECT name FROM r WHERE r.id = t.g)) SELECT a.n, b.c FROM s a JOIN s b ON a.n = b.n ORDER BY 1, 2
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g), count(*) FROM t GROUP BY (SELECT name FROM r WHERE r.id = t.g) UNION ALL SELECT (SELECT name FROM r WHERE r.id = u.tv % 3), max(tv) FROM u GROUP BY (SELECT name FROM r WHERE r.id = u.tv % 3) ORDER BY 1, 2
-- query
-- answered
SELECT l.n, t.v FROM t, LATERAL (SELECT (SELECT name FROM r WHERE r.id = t.g) AS n, count(*) FROM u GROUP BY (SELECT name FROM r WHERE r.id = t.g)) l ORDER BY 2, 1
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g), count(*) FROM t WHERE k = 2 GROUP BY (SELECT name FROM r WHERE r.id = t.g)
-- query
-- answered
SELECT (SELECT x.name FROM r x WHERE x.id = r.id), count(*) FROM r GROUP BY (SELECT x.name FROM r x WHERE x.id = r.id)
-- query
-- answered
SELECT v AS g, (SELECT name FROM r WHERE r.id = g) FROM t ORDER BY (SELECT name FROM r WHERE r.id = g), g
-- query
-- answered
SELECT v, (SELECT max(v) FROM u) FROM t ORDER BY (SELECT max(v) FROM u), v
-- query
-- answered
SELECT (SELECT max(s.tv) FROM (SELECT tv FROM u) s), count(*) FROM t GROUP BY (SELECT max(s.tv) FROM (SELECT tv FROM u) s)
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g), (SELECT (SELECT name FROM r WHERE r.id = s.g) FROM t s WHERE s.v = t.v) FROM t ORDER BY t.v
-- query
-- answered
SELECT (SELECT max(lower.name) FROM r lower WHERE lower.id = t.g), count(*) FROM t GROUP BY (SELECT max(lower.name) FROM r lower WHERE lower.id = t.g)
-- query
-- answered
SELECT (SELECT g.name FROM r g WHERE g.id = t.g), count(*) FROM t GROUP BY (SELECT g.name FROM r g WHERE g.id = t.g)
-- query
-- answered
SELECT (SELECT max(lower.name) FROM r lower WHERE lower.id = t.g AND lower(lower.name) > ''), count(*) FROM t GROUP BY (SELECT max(lower.name) FROM r lower WHERE lower.id = t.g AND lower(lower.name) > '')
-- query
-- answered
SELECT (SELECT count(r) FROM r WHERE r.id <= t.g), count(*) FROM t GROUP BY (SELECT count(r) FROM r WHERE r.id <= t.g) ORDER BY 1
-- query
-- answered
SELECT (SELECT count(r.*) FROM r WHERE r.id <= t.g), count(*) FROM t GROUP BY (SELECT count(r.*) FROM r WHERE r.id <= t.g) ORDER BY 1
-- query
-- answered
SELECT (SELECT max(name) AS r FROM r WHERE r.id <= t.g ORDER BY r), count(*) FROM t GROUP BY (SELECT max(name) AS r FROM r WHERE r.id <= t.g ORDER BY r) ORDER BY 1
-- query
-- refused
SELECT (WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < t.g) SELECT count(*) FROM c), count(*) FROM t GROUP BY (WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < t.g) SELECT count(*) FROM c) ORDER BY 1
-- query
-- answered
SELECT count(*) FROM (SELECT (SELECT random() FROM r WHERE id = 1) AS a, (SELECT random() FROM r WHERE id = 1) AS b FROM t) s WHERE a = b
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = t.g), count(*) FROM t JOIN u USING (k) GROUP BY (SELECT name FROM r WHERE r.id = t.g) ORDER BY 1
-- query
-- answered
SELECT (SELECT name FROM r WHERE r.id = k), count(*) FROM t JOIN u USING (k) GROUP BY (SELECT name FROM r WHERE r.id = k) ORDER BY 1
-- query
-- answered
SELECT (SELECT n FROM named WHERE named.id = t.g), count(*) FROM t GROUP BY (SELECT n FROM named WHERE named.id = t.g) ORDER BY 1
-- query
-- answered
SELECT (SELECT sum(i) FROM generate_series(1, t.g) i), count(*) FROM t GROUP BY (SELECT sum(i) FROM generate_series(1, t.g) i) ORDER BY 1
-- query
-- answered
SELECT (SELECT max(x) FROM unnest(ARRAY[t.g, 1]) AS x), count(*) FROM t GROUP BY (SELECT max(x) FROM unnest(ARRAY[t.g, 1]) AS x) ORDER BY 1
-- query
-- answered
SELECT (SELECT name FROM ONLY r WHERE id = t.g), count(*) FROM t GROUP BY (SELECT name FROM ONLY r WHERE id = t.g) ORDER BY 1
-- query
-- answered
SELECT (SELECT '1' || name FROM r WHERE born < 'now' AND id = t.g), count(*) FROM t GROUP BY (SELECT '1' || name FROM r WHERE born < 'now' AND id = t.g) ORDER BY 1
-- query
-- answered
SELECT t.v, (SELECT name FROM r WHERE r.id = t.g), t.g, count(u.tv) FROM t LEFT JOIN u ON u.tv = t.v GROUP BY t.v, t.k, (SELECT name FROM r WHERE r.id = t.g) ORDER BY t.v
-- query
-- answered
WITH z AS (SELECT DISTINCT (SELECT max(n) FROM counted c WHERE c.g < a.g) AS c1 FROM (SELECT g FROM t ORDER BY k, v LIMIT 9) a ORDER BY (SELECT max(n) FROM counted c WHERE c.g < a.g)) SELECT x.c1 FROM z x, z y
-- query
-- answered
WITH z AS (SELECT (SELECT max(n) FROM counted c WHERE c.g < a.g) AS c1, rank() OVER (ORDER BY (SELECT max(n) FROM counted c WHERE c.g < a.g)) AS r FROM counted a) SELECT x.* FROM z x JOIN z y ON x.r = y.r + 1
-- query
-- answered
WITH z AS (SELECT (SELECT max(n) FROM counted c WHERE c.g < a.g) AS c1, count(*) FROM counted a GROUP BY (SELECT max(n) FROM counted c WHERE c.g < a.g)) SELECT x.* FROM z x, z y
