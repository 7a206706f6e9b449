-- symptom: the plan's check took the rows of a derived table within EXISTS, IN or UNION for parts of groups, and called the plan a fault
-- shard: t=k
-- setup
CREATE TABLE t (k int NOT NULL, id int PRIMARY KEY, e text);
CREATE TABLE u (uid int PRIMARY KEY, tid int);
INSERT INTO t SELECT i % 4, i, 'e' || i % 3 FROM generate_series(1, 12) i;
INSERT INTO u SELECT i, i % 5 FROM generate_series(1, 8) i;
-- query
-- answered
WITH r AS (SELECT id FROM t) SELECT a.id FROM r a WHERE NOT EXISTS (SELECT 1 FROM r b WHERE b.id > a.id)
-- query
-- answered
SELECT uid FROM u WHERE EXISTS (SELECT 1 FROM (SELECT id FROM t WHERE id > 6) s WHERE s.id = u.uid)
-- query
-- answered
SELECT uid FROM u WHERE uid IN (SELECT s.id FROM (SELECT id, e FROM t) s WHERE s.id > u.tid)
-- query
-- answered
SELECT a.id FROM t a JOIN u ON u.tid = a.k UNION SELECT b.k FROM (SELECT k FROM t) b JOIN (SELECT id FROM t) c ON b.k = c.id
-- query
-- answered
SELECT uid FROM u WHERE NOT EXISTS (SELECT 1 FROM (SELECT s.id FROM (SELECT id FROM t) s JOIN u x ON x.uid = s.id) y WHERE y.id = u.uid)
-- query
-- answered
SELECT uid FROM u WHERE uid < ALL (SELECT s.id FROM (SELECT id FROM t WHERE id > 3) s)
-- query
-- answered
SELECT uid FROM u WHERE EXISTS (SELECT 1 FROM (SELECT id FROM t LIMIT 30) s WHERE s.id = u.uid)
-- query
-- answered
SELECT uid FROM u WHERE uid IN (SELECT s.n FROM (SELECT count(*) AS n FROM t GROUP BY e) s)
-- query
-- answered
SELECT uid FROM u WHERE uid IN (SELECT row_number() OVER (ORDER BY s.id) FROM (SELECT id % 3 AS id FROM t) s WHERE s.id < u.tid)
-- query
-- answered
SELECT uid FROM u WHERE (SELECT count(*) FROM (SELECT e FROM t WHERE t.id > u.uid) s) > 6
