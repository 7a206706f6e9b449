-- symptom: SEARCH and CYCLE were refused
-- shard: t=id
-- setup
CREATE TABLE edges (f int, t int, PRIMARY KEY (f, t));
INSERT INTO edges VALUES (1, 2), (1, 3), (2, 4), (3, 4), (4, 5), (5, 2), (6, 1);
CREATE TABLE t (id int PRIMARY KEY, v int, next int);
INSERT INTO t SELECT i, i % 6, i * 2 FROM generate_series(1, 36) i;
-- query
-- answered
WITH RECURSIVE r AS (SELECT f, t FROM edges WHERE f = 6 UNION ALL SELECT e.f, e.t FROM edges e JOIN r ON e.f = r.t WHERE e.f < 5) SEARCH DEPTH FIRST BY f, t SET o SELECT f, t FROM r ORDER BY o
-- query
-- answered
WITH RECURSIVE r (a, b) AS (SELECT f, t FROM edges WHERE f = 6 UNION ALL SELECT e.* FROM edges e, r WHERE e.f = r.b AND e.f < 5) SEARCH BREADTH FIRST BY a, b SET o SELECT row_number() OVER (ORDER BY o) AS n, a, b FROM r
-- query
-- answered
WITH RECURSIVE r AS (SELECT f, t FROM edges WHERE f = 1 UNION ALL SELECT e.f, e.t FROM edges e JOIN r ON e.f = r.t) CYCLE f, t SET again USING path SELECT f, t, again, cardinality(path) AS steps FROM r
-- query
-- answered
WITH RECURSIVE r AS (SELECT f, t FROM edges WHERE f = 1 UNION ALL SELECT e.f, e.t FROM edges e JOIN r ON e.f = r.t) CYCLE f, t SET again TO 'Y' DEFAULT 'N' USING path SELECT again, count(*), max(array_length(path, 1)) FROM r GROUP BY again
-- query
-- answered
WITH RECURSIVE r AS (SELECT f, t FROM edges UNION SELECT e.f, e.t FROM edges e JOIN r ON e.f = r.t) SEARCH DEPTH FIRST BY f SET o CYCLE f, t SET again USING p SELECT count(*), count(o), count(*) FILTER (WHERE again) FROM r
-- query
-- answered
WITH RECURSIVE r AS (SELECT f, t FROM edges WHERE f = 1 UNION ALL SELECT e.f, e.t FROM edges e JOIN r ON e.f = r.t) CYCLE f, t SET again USING path SELECT t.id, t.v, r.f, r.again FROM t JOIN r ON r.t = t.id
-- query
-- answered
WITH RECURSIVE r AS (SELECT f, t FROM edges WHERE f = 1 UNION ALL SELECT e.f, e.t FROM edges e JOIN r ON e.f = r.t) CYCLE f, t SET again USING path SELECT t.v, count(*), sum(cardinality(r.path)) FROM t JOIN r ON r.t = t.v AND NOT r.again GROUP BY t.v
-- query
-- answered
WITH RECURSIVE r AS (SELECT id, next FROM t WHERE v = 1 UNION ALL SELECT t.id, t.next FROM t JOIN r ON t.id = r.next) SEARCH DEPTH FIRST BY id SET o SELECT id, next FROM r ORDER BY o, id
-- query
-- answered
WITH RECURSIVE r AS (SELECT id, v FROM t WHERE id = 7 UNION ALL SELECT t.id, t.v FROM t JOIN r ON t.id = 7 + r.v) CYCLE id SET c USING p SELECT id, c, cardinality(p) FROM r
-- query
-- answered
SELECT t.id, (WITH RECURSIVE r AS (SELECT e.f, e.t FROM edges e WHERE e.f = t.v UNION ALL SELECT e.f, e.t FROM edges e JOIN r ON e.f = r.t) CYCLE f, t SET again USING path SELECT count(*) FROM r WHERE NOT again) AS reached FROM t
-- query
WITH RECURSIVE r AS (SELECT f, t FROM edges WHERE f = 1 UNION ALL SELECT e.f, e.t FROM edges e JOIN r ON e.f = r.t) CYCLE f, t SET again USING path SELECT * FROM r
-- query
-- refused: SEARCH or CYCLE
WITH RECURSIVE r AS (SELECT f, t FROM edges WHERE f = 1 UNION ALL SELECT e.f, e.t FROM edges e JOIN r ON e.f = r.t AND NOT again) CYCLE f, t SET again USING path SELECT f FROM r
-- query
-- refused: SEARCH or CYCLE
WITH RECURSIVE r AS (SELECT f, t FROM edges WHERE f = 1 UNION ALL SELECT e.f, e.t FROM edges e JOIN r ON e.f = r.t) CYCLE f, t SET again TO date 'today' DEFAULT date '2020-01-01' USING path SELECT again FROM r
