-- symptom: GROUP BY the primary key of a table that others inherit from was refused, though PostgreSQL takes the key's word for their rows, too
-- shard: base=k heir=k
-- setup
CREATE TABLE base (id int PRIMARY KEY, k int NOT NULL, e text, z int, j json, a int[]);
CREATE TABLE heir () INHERITS (base);
CREATE TABLE copied (cid int PRIMARY KEY, name text, w int);
CREATE TABLE copied_heir () INHERITS (copied);
CREATE TABLE u (uid int PRIMARY KEY, tid int);
INSERT INTO base SELECT i, i % 4, 'e' || i % 3, i, '{"a": 1}', array[i] FROM generate_series(1, 12) i;
-- Some keys come once more, with what else may differ.
INSERT INTO heir SELECT i, (i + 1) % 4, 'e' || i % 3, -i, '{"a": 1}', array[-i] FROM generate_series(9, 20) i;
INSERT INTO copied SELECT i, 'n' || i, i FROM generate_series(0, 2) i;
INSERT INTO copied_heir SELECT i, 'n' || i, -i FROM generate_series(2, 4) i;
INSERT INTO u SELECT i, i % 5 FROM generate_series(1, 8) i;
-- query
-- answered
SELECT b.id, b.e, count(u.uid) FROM base b LEFT JOIN u ON u.tid = b.k GROUP BY b.id
-- query
-- answered
SELECT id, e, sum(z) FROM base GROUP BY id HAVING e > 'e0' ORDER BY e, id
-- query
-- answered
SELECT id, upper(e), j ->> 'a', count(*) FROM base GROUP BY id ORDER BY 1
-- query
-- answered
SELECT count(*), sum(n), count(z) FROM (SELECT id, z, count(*) AS n FROM base GROUP BY id) s
-- query
-- answered
SELECT id, abs(z), rank() OVER (ORDER BY abs(z)) FROM base GROUP BY id ORDER BY id
-- query
-- answered
SELECT DISTINCT ON (e) e, id, count(*) FROM base GROUP BY id ORDER BY e, id DESC
-- query
-- answered
SELECT c.cid, c.name, abs(c.w), count(*) FROM copied c JOIN base b ON b.k = c.cid GROUP BY c.cid
-- query
-- answered
SELECT count(*), sum(n) FROM (SELECT c.cid, c.w, count(b.id) AS n FROM copied c LEFT JOIN base b ON b.k = c.cid GROUP BY c.cid) s
-- query
-- answered
SELECT x.b, x.d, count(*) FROM base x (b, c, d) GROUP BY x.b
-- query
-- answered
SELECT h.e, count(*) FROM heir h GROUP BY h.e
-- query
-- refused: inherit
SELECT id, a, count(*) FROM base GROUP BY id
