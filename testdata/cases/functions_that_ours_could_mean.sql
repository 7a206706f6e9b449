-- symptom: aggregates were taken apart with PostgreSQL's round, abs, length, ..; a schema before pg_catalog had functions of these names
-- shard: t=k
-- session: search_path = public, pg_catalog
-- setup
CREATE TABLE t (k int PRIMARY KEY, v int, x float8);
INSERT INTO t SELECT i, i % 7, i * 1.5 FROM generate_series(1, 60) i;
CREATE FUNCTION public.round(numeric, int) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT 42.0';
CREATE FUNCTION public.abs(float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT 0.0::float8';
CREATE FUNCTION public.length(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION public.num_nulls(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -1';
-- query
SELECT stddev(v), count(*) FROM t
-- query
SELECT v, stddev_pop(k) FROM t GROUP BY v
-- query
-- tolerance: 1e-12
SELECT stddev(x), variance(x) FROM t
-- query
-- tolerance: 1e-12
SELECT corr(x, v), regr_slope(x, v) FROM t
-- query
SELECT count(DISTINCT (v, k)) FROM t
-- query
-- answered
SELECT var_pop(v), avg(k), count(DISTINCT v) FROM t
-- query
-- answered
SELECT v, sum(k), max(x) FROM t GROUP BY v
