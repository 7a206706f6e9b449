-- symptom: GROUP BY the primary key, beside it a column whose type has no equality: the last step could not group by it
-- shard: t=k
-- setup
CREATE DOMAIN dj AS json;
CREATE TYPE cj AS (n int, j json);
CREATE TYPE cq AS (n int, e text);
CREATE DOMAIN dcj AS cj;
CREATE DOMAIN dcq AS cq;
CREATE DOMAIN di AS int;
CREATE DOMAIN dis AS int[];
CREATE TABLE t (k int NOT NULL, id int PRIMARY KEY, e text, j json, p point, x xml, js json[], d dj, c cj, cs cj[], ds dj[]);
CREATE TABLE v (vid int PRIMARY KEY, q cq, qs cq[], dq dcq, dqs dcq[], ds di[], dds dis, dc dcj);
INSERT INTO v SELECT i, ROW(i, 'x')::cq, array[ROW(i, 'y')::cq], ROW(i, 'z')::cq, array[ROW(i, 'z')::cq::dcq], array[i, 2], array[i], ROW(i, '1'::json)::cj FROM generate_series(1, 4) i;
CREATE TABLE u (uid int PRIMARY KEY, tid int);
INSERT INTO t SELECT i % 4, i, 'e' || i % 3, CASE WHEN i % 5 > 0 THEN json_build_object('a', i) END, point(i, 1), '<a/>', array['1', '2']::json[], '2', ROW(i, '3'::json)::cj, array[ROW(i, '3'::json)::cj]
FROM generate_series(1, 12) i;
INSERT INTO u SELECT i, i % 5 FROM generate_series(1, 8) i;
-- query
-- answered
SELECT t.id, t.j, count(u.uid) FROM t LEFT JOIN u ON u.tid = t.k GROUP BY t.id
-- query
-- answered
SELECT t.id, t.k, t.e, t.j, t.p, count(u.uid) FROM t LEFT JOIN u ON u.tid = t.k GROUP BY t.id
-- query
-- refused: declarations
SELECT t.id, t.x, count(u.uid) FROM t LEFT JOIN u ON u.tid = t.k GROUP BY t.id
-- query
-- answered
SELECT t.id, t.j ->> 'a' AS a, count(*) FROM t JOIN u ON u.tid = t.k GROUP BY t.id ORDER BY t.id
-- query
-- answered
SELECT t.id, count(*) FROM t JOIN u ON u.tid = t.k GROUP BY t.id HAVING t.j ->> 'a' > '2' ORDER BY t.j ->> 'a', t.id
-- query
-- answered
SELECT t.id, json_agg(t.j), count(*) FROM t JOIN u ON u.tid = t.id GROUP BY t.id
-- query
-- answered
SELECT DISTINCT ON (t.e) t.e, t.j ->> 'a' AS a, count(*) FROM t JOIN u ON u.tid = t.k GROUP BY t.id ORDER BY t.e, t.id
-- query
-- answered
SELECT t.id, rank() OVER (ORDER BY t.e, t.id), t.j ->> 'a' AS a FROM t JOIN u ON u.tid = t.k GROUP BY t.id
-- query
-- answered
SELECT DISTINCT ON (t.k) t.k, t.j ->> 'a' AS a, count(u.uid) FROM t LEFT JOIN u ON u.tid = t.k GROUP BY t.id ORDER BY t.k, t.id
-- query
-- answered
SELECT DISTINCT t.e, count(u.uid) FROM t LEFT JOIN u ON u.tid = t.k GROUP BY t.k, t.e
-- query
-- answered
SELECT DISTINCT ON (t.e) t.e, t.k, count(u.uid) FROM t LEFT JOIN u ON u.tid = t.k GROUP BY t.k, t.e ORDER BY t.e, t.k DESC
-- query
-- answered
SELECT t.id, t.d, count(u.uid) FROM t LEFT JOIN u ON u.tid = t.k GROUP BY t.id
-- query
-- answered
SELECT t.id, t.c, (t.c).n, count(u.uid) FROM t LEFT JOIN u ON u.tid = t.k GROUP BY t.id
-- query
-- answered
SELECT v.vid, v.q, v.qs, v.dq, v.dqs, v.ds, v.dds, count(*) FROM v JOIN t ON t.k = v.vid GROUP BY v.vid
-- query
-- answered
SELECT v.vid, (v.q).n, v.qs[1], (v.dq).e, v.ds[1], count(t.id) FROM v LEFT JOIN t ON t.k = v.vid GROUP BY v.vid
-- query
-- answered
SELECT v.vid, v.dc, (v.dc).n, count(*) FROM v JOIN t ON t.k = v.vid GROUP BY v.vid
-- query
-- answered
SELECT u.uid, (SELECT count(*) FROM t WHERE t.k < u.uid AND (t.c).n > u.tid AND t.d IS NOT NULL) FROM u ORDER BY u.uid
-- query
-- refused: have no equality
SELECT t.id, t.ds, count(u.uid) FROM t LEFT JOIN u ON u.tid = t.id GROUP BY t.id
-- query
-- refused: have no equality
SELECT t.id, t.cs, count(u.uid) FROM t LEFT JOIN u ON u.tid = t.id GROUP BY t.id
-- query
-- refused: have no equality
SELECT t.id, t.js, count(u.uid) FROM t LEFT JOIN u ON u.tid = t.id GROUP BY t.id
