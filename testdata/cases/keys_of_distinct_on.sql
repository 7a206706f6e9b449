-- symptom: what stands in DISTINCT ON was judged by nobody: windows, subqueries and aggregates in it were of one shard; names and constants of the output meant something else there
-- shard: t=k
-- setup
CREATE TABLE t (k int NOT NULL, id int PRIMARY KEY, e text, j json);
CREATE TABLE u (uid int PRIMARY KEY, tid int);
INSERT INTO t SELECT i % 4, i, 'e' || i % 3, '{"a": 1}' FROM generate_series(1, 60) i;
INSERT INTO u SELECT i, i % 5 FROM generate_series(1, 8) i;
-- query
-- answered
SELECT DISTINCT ON (rank() OVER (ORDER BY id) > 6) 1 AS one FROM t
-- query
-- answered
SELECT DISTINCT ON (k, rank() OVER (ORDER BY id) > 6) k FROM t
-- query
-- answered
SELECT DISTINCT ON (rank() OVER w > 6) 1 AS one FROM t WINDOW w AS (ORDER BY id)
-- query
-- answered
SELECT DISTINCT ON (count(*) OVER (PARTITION BY k) > 3) 1 AS one FROM t
-- query
-- answered
SELECT DISTINCT ON (id * (SELECT count(*) FROM t) % 24) id * 12 % 24 AS r FROM t
-- query
-- answered
SELECT DISTINCT ON (id > (SELECT avg(id) FROM t)) 1 AS one FROM t
-- query
-- answered
SELECT DISTINCT ON (EXISTS (SELECT 1 FROM t x WHERE x.id > t.id)) 1 AS one FROM t
-- query
-- answered
SELECT DISTINCT ON (count(*) > 30) 1 FROM t
-- query
-- answered
SELECT DISTINCT ON (count(*)) 1 FROM t
-- query
-- answered
SELECT DISTINCT ON (sum(id) > 500) 1 AS one FROM t GROUP BY e
-- query
-- answered
SELECT 1 AS one FROM t WINDOW w AS (ORDER BY count(*))
-- query
-- answered
SELECT DISTINCT ON (e) e, id, 2 AS prio FROM t ORDER BY e, prio, id DESC
-- query
-- answered
SELECT DISTINCT ON (e) e, id, 2 AS prio FROM t ORDER BY e, 3, id DESC
-- query
-- answered
SELECT DISTINCT ON (prio, e) e, id, 2 AS prio FROM t ORDER BY prio, e, id DESC
-- query
-- answered
SELECT DISTINCT ON (e) e, 'web' AS src, id FROM t ORDER BY e, src, id DESC
-- query
-- answered
SELECT DISTINCT ON (e) e, NULL AS none, id FROM t ORDER BY e, none, id DESC
-- query
-- answered
SELECT DISTINCT ON (e) e, true AS yes, id FROM t ORDER BY e, yes, id DESC
-- query
-- answered
SELECT DISTINCT ON (e) e, 20 AS many, id FROM t ORDER BY e, many, id DESC
-- query
-- answered
SELECT DISTINCT ON (x) upper(e) AS x, id FROM t ORDER BY x, id
-- query
-- answered
SELECT DISTINCT ON (x) e AS x, id FROM t ORDER BY x, id
-- query
-- answered
SELECT DISTINCT ON (id) k AS id, id AS k FROM t ORDER BY 1, 2
-- query
-- answered
SELECT DISTINCT ON (upper(e)) upper(e) AS x, id FROM t ORDER BY x, id
-- query
-- answered
SELECT DISTINCT ON (x) upper(e) AS x, id FROM t ORDER BY upper(e), id
-- query
-- answered
SELECT DISTINCT ON (1) k, id FROM t ORDER BY 1, 2
-- query
-- answered
SELECT DISTINCT ON (2) id, k FROM t ORDER BY k, id DESC
-- query
-- answered
SELECT DISTINCT ON (1) upper(e), id FROM t ORDER BY 1, 2
-- query
-- answered
SELECT s.x, u.uid FROM (SELECT DISTINCT ON (x) upper(e) AS x, id FROM t ORDER BY x, id) s JOIN u ON u.uid = s.id
