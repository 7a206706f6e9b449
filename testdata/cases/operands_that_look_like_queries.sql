-- symptom: a list that begins with a subquery, and a row before a cast or an operator, could not be read
-- shard: t=id
-- setup
CREATE TABLE t (id int PRIMARY KEY, v int, s text);
INSERT INTO t SELECT i, nullif(i % 6, 5), 'x' || i % 4 FROM generate_series(1, 36) i;
CREATE TABLE copies (id int PRIMARY KEY, s text);
INSERT INTO copies SELECT i, nullif('y' || i, 'y3') FROM generate_series(1, 5) i;
-- query
-- answered
SELECT id FROM t WHERE v IN ((SELECT 1), 2)
-- query
-- answered
SELECT id, v NOT IN ((SELECT min(id) FROM copies), 3) FROM t
-- query
-- answered
SELECT id FROM t WHERE v IN ((SELECT max(v) FROM t), (SELECT 2))
-- query
-- answered
SELECT id FROM t WHERE id IN ((SELECT 3), 5)
-- query
-- answered
SELECT count(*) FILTER (WHERE v IN ((SELECT 1) + 1, (SELECT min(v) FROM t))) FROM t
-- query
-- answered
SELECT CASE WHEN v IN ((SELECT max(id) FROM copies), 2) THEN s END AS c, count(*) FROM t GROUP BY c
-- query
-- answered
SELECT id FROM t WHERE v IN (((SELECT count(*) FROM t o WHERE o.v = t.v)), 6)
-- query
-- answered
SELECT id, md5(t.*::text), t.*::text FROM t
-- query
-- answered
SELECT id, u.*::text COLLATE "C" AS r FROM t u WHERE u.*::text LIKE '%x1%' ORDER BY u.*::text COLLATE "C"
-- query
-- answered
SELECT md5(string_agg(md5(t.*::text), '' ORDER BY id)), count(DISTINCT t.*::text) FROM t
-- query
-- answered
SELECT t.* IS NOT NULL AS whole, count(*) FROM t GROUP BY 1
-- query
-- answered
SELECT t.id, c.*::text, c.* IS NULL FROM t LEFT JOIN copies c ON c.id = t.v
-- query
-- answered
SELECT id, t.*::text, row_number() OVER (ORDER BY id) FROM t
-- query
-- answered
SELECT a.id, a.*::text = b.*::text FROM t a JOIN t b ON a.id = b.v
-- query
-- answered
SELECT id, row(t.*::t)::text FROM t
-- query
-- answered
SELECT max(c.*::text) FROM copies c
-- query
SELECT t.* = t.*, count(*) FROM t GROUP BY 1
-- query
SELECT x.*::text FROM (SELECT v, count(*) AS c FROM t GROUP BY v) x
