-- symptom: 'now' in a literal whose type was a domain, a row, or told by what it stands in, was another moment on each shard
-- shard: f=id
-- setup
CREATE TABLE f (id int PRIMARY KEY, t text, at timestamptz, d date);
INSERT INTO f SELECT i, 'today', '2024-01-01', '2024-01-01' FROM generate_series(1, 60) i;
CREATE DOMAIN dts AS timestamptz;
CREATE TYPE cts AS (at timestamptz, n int);
CREATE DOMAIN dcts AS cts;
CREATE TYPE mood AS ENUM ('now', 'never');
CREATE FUNCTION fts(x timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION ftv(VARIADIC x timestamptz[]) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS 'SELECT $1[1]';
-- query
SELECT count(DISTINCT x::text) FROM (SELECT 'now'::dts AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT dts 'now' AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT dts('now') AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT '{now}'::dts[] AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT (E'now'::public.dts)::timestamptz AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM f, (VALUES ('now'::dts)) v(x)
-- query
SELECT count(DISTINCT x::text) FROM (SELECT '(now,1)'::cts AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT '(now,1)'::dcts AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT ROW('now', 1)::cts AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT ('now', 1)::cts AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT ARRAY['now']::timestamptz[] AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT CAST(ARRAY[ARRAY['now']] AS timestamptz[]) AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT (CASE WHEN id > 0 THEN 'now' ELSE 'today' END)::timestamptz AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT (E'{now}'::"pg_catalog"."_timestamptz")::timestamptz[] AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM f, unnest(ARRAY['now']::timestamptz[]) AS x
-- query
SELECT count(DISTINCT x::text) FROM (SELECT fts('now') AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT fts(x => 'now') AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT ftv('now', 'today') AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM f, fts('now') AS x
-- query
SELECT count(DISTINCT x::text) FROM f, generate_series('now', timestamptz 'now' + interval '1 s', '1 s') AS x
-- query
SELECT count(DISTINCT x::text) FROM (SELECT array_append(ARRAY[at], 'now') AS x FROM f) z
-- query
SELECT count(DISTINCT x::text) FROM (SELECT ARRAY[at] || '{now}' AS x FROM f) z
-- query
SELECT count(DISTINCT x) FROM (SELECT width_bucket(at, '{now}') AS x FROM f) z
-- query
SELECT count(*) FROM f WHERE ROW(at, 1)::cts = '(now,1)'
-- query
SELECT count(DISTINCT x::text) FROM (SELECT 'now'::unknown::timestamptz AS x FROM f) z
-- query
-- answered
SELECT count(DISTINCT x::text) FROM (SELECT 'now'::mood AS x FROM f) z
-- query
-- answered
SELECT count(*) FROM f WHERE t = 'today' AND t || ' now' = 'today now' AND lower('Now') = 'now' AND t = ANY(ARRAY['today', 'now'])
-- query
-- answered
SELECT count(DISTINCT x), max(x) FROM (SELECT ROW('now', id > 3)::text AS x FROM f) z
-- query
-- answered
SELECT count(*) FROM f WHERE at < 'now' AND d < 'today' AND at < 'now'::timestamptz
-- query
SELECT count(DISTINCT x::text) FROM (SELECT 'now'::name::text::timestamptz AS x FROM f) z
