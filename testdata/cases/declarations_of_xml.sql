-- symptom: values of xml that were handed to the last step had lost their declarations, which a cast to text shows
-- shard: t=k
-- setup
CREATE DOMAIN document AS xml;
CREATE TYPE page AS (n int, x document);
CREATE TABLE t (k int PRIMARY KEY, g int, x xml, p page, ps page[]);
INSERT INTO t SELECT i, i % 4, x, (i, x)::page, ARRAY[(i, x)::page] FROM (SELECT i, ('<?xml version="1.0"?><b>' || i || '</b>')::xml AS x FROM generate_series(1, 12) i) s;
-- query
-- answered
SELECT k, x::text FROM t
-- query
-- answered
SELECT k, x FROM t ORDER BY k LIMIT 3
-- query
SELECT k, x::text, row_number() OVER (ORDER BY k) FROM t
-- query
SELECT a.k, a.x::text FROM t a JOIN t b ON a.k = b.g
-- query
SELECT g, string_agg(x::text, '|' ORDER BY k) FROM t GROUP BY g
-- query
SELECT (array_agg(x ORDER BY k))[1]::text FROM t
-- query
SELECT length(x::text), count(*) FROM t GROUP BY 1
-- query
-- refused: declarations
SELECT a.x FROM (SELECT k, x, row_number() OVER (ORDER BY k) AS n FROM t) a
-- query
-- answered
SELECT a.x, n FROM (SELECT x, row_number() OVER (ORDER BY k) AS n FROM (SELECT k, x::text AS x FROM t OFFSET 0) t) a
-- query
-- refused: declarations
SELECT (a.p).x::text FROM (SELECT k, p, row_number() OVER (ORDER BY k) AS n FROM t) a
-- query
-- refused: declarations
SELECT (a.ps[1]).x::text FROM (SELECT k, ps, row_number() OVER (ORDER BY k) AS n FROM t) a
-- query
-- refused: declarations
SELECT (max(ARRAY[a.k]), min(a.k), count(a.d::xml::text)) FROM (SELECT k, x::document AS d, row_number() OVER (ORDER BY k) AS n FROM t) a
