-- symptom: the merged column of an inner JOIN USING is the right one where only the left had to be cast: it was always the left one
-- shard: t=k
-- setup
CREATE EXTENSION citext;
CREATE DOMAIN email AS citext;
CREATE DOMAIN code AS numeric;
CREATE TABLE t (k int PRIMARY KEY, g int, addr email, price numeric(8,2), b char(3), x float4, dm code, s smallint);
CREATE TABLE r (id int PRIMARY KEY, g numeric, addr citext, price numeric, b bpchar, x float8, dm numeric, s bigint, name text);
INSERT INTO t SELECT i, i % 3, 'User' || i % 3 || '@x.org', i % 3, 'a', 0, 1.50, i FROM generate_series(1, 6) i;
INSERT INTO r VALUES (0, 0.0, 'USER0@X.ORG', 0, 'a    ', '-0', 1.5, 1, 'n0'), (1, 1.00, 'user1@x.org', 1.000, 'b', 1, 2, 2, 'n1'), (2, 2, 'UsEr2@x.org', 2.0, 'c', 2, 3, 3, 'n2');
-- query
-- answered
SELECT addr, count(*) FROM t JOIN r USING (addr) GROUP BY addr ORDER BY 1
-- query
-- answered
SELECT addr, count(*) FROM r JOIN t USING (addr) GROUP BY addr ORDER BY 1
-- query
-- answered
SELECT g::text, count(*) FROM t JOIN r USING (g) GROUP BY g::text
-- query
-- answered
SELECT count(*) FROM t JOIN r USING (g) WHERE g::text = '1.00'
-- query
-- answered
SELECT g, k FROM r JOIN t USING (g)
-- query
-- answered
SELECT g::text, count(*) FROM t LEFT JOIN r USING (g) GROUP BY 1
-- query
-- answered
SELECT g::text, count(*) FROM t RIGHT JOIN r USING (g) GROUP BY 1
-- query
-- answered
SELECT g::text, count(*) FROM t FULL JOIN r USING (g) GROUP BY 1
-- query
-- answered
SELECT price::text, count(*) FROM t JOIN r USING (price) GROUP BY 1
-- query
-- answered
SELECT price::text, count(*) FROM r JOIN t USING (price) GROUP BY 1
-- query
-- answered
SELECT octet_length(b), count(*) FROM t JOIN r USING (b) GROUP BY 1
-- query
-- answered
SELECT x::text, count(*) FROM t JOIN r USING (x) GROUP BY 1
-- query
-- answered
SELECT dm::text, count(*) FROM t JOIN r USING (dm) GROUP BY 1
-- query
-- answered
SELECT s, pg_typeof(s)::text, count(*) FROM t JOIN r USING (s) GROUP BY 1
-- query
-- answered
SELECT g::text, count(*) FROM (SELECT g FROM t) a JOIN (SELECT g FROM r) b USING (g) GROUP BY 1
-- query
-- answered
SELECT g::text, count(*) FROM (SELECT g + 0 AS g FROM t) a JOIN (SELECT g FROM r) b USING (g) GROUP BY 1
-- query
-- answered
WITH a AS (SELECT g FROM t), b AS (SELECT g FROM r) SELECT g::text, count(*) FROM a JOIN b USING (g) GROUP BY 1
-- query
-- answered
SELECT g::text, count(*) FROM t a JOIN t b USING (g) JOIN r USING (g) GROUP BY 1
-- query
-- answered
SELECT g::text, count(*) FROM (t a LEFT JOIN t b USING (g)) JOIN r USING (g) GROUP BY 1
-- query
-- answered
SELECT g::text, x.k FROM (t JOIN r USING (g)) AS x WHERE x.k < 4
-- query
-- answered
SELECT k, EXISTS (SELECT 1 FROM r u JOIN r v USING (g) WHERE g::text = t.g::text || '.00') FROM t
-- query
-- answered
SELECT price::text, count(*) FROM (SELECT price FROM t) a JOIN (SELECT price FROM r) b USING (price) GROUP BY 1
-- query
-- answered
WITH a AS (SELECT price, dm FROM t), b AS (SELECT price, dm FROM r) SELECT price::text, count(*) FROM a JOIN b USING (price, dm) GROUP BY 1
-- query
-- answered
SELECT dm::text, addr::text, count(*) FROM (SELECT dm, addr FROM t) a NATURAL JOIN (SELECT dm, addr FROM r) b GROUP BY 1, 2
-- query
-- answered
SELECT octet_length(b), count(*) FROM (SELECT b FROM t) x JOIN (SELECT b FROM r) y USING (b) GROUP BY 1
-- query
-- answered
SELECT k, price::text FROM (SELECT k, price FROM t) a JOIN (SELECT k, g FROM t) b USING (k)
-- query
-- answered
SELECT g::text, count(*) FROM (SELECT g FROM t UNION ALL SELECT g FROM t) a JOIN r USING (g) GROUP BY 1
