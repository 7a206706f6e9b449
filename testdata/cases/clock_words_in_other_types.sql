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
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT coalesce(nullif(t, 'today'), 'now')::timestamptz AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT lower('NOW')::timestamptz AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT ('no' || 'w now')::timestamptz AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT replace(t, 'today', 'now')::timestamptz AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT (SELECT 'now')::timestamptz AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT y::timestamptz AS x FROM (SELECT 'now' AS y FROM f) w) z
-- query
-- refused: without a type
WITH p AS (SELECT 'now'::text AS y) SELECT count(DISTINCT x::text) FROM (SELECT p.y::timestamptz AS x FROM f, p) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT y::timestamptz AS x FROM f, (VALUES ('now')) v(y)) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT ('{"at": "now"}'::jsonb ->> 'at')::timestamptz AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT string_to_array('now,now', ',')::timestamptz[] AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT date(lower('NOW')) AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT 'now'::text::dts AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT json_populate_record(NULL::cts, '{"at": "now", "n": 1}') AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::text) FROM (SELECT (jsonb_populate_record(NULL::cts, '{"at": "now"}')).at AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x.at::text) FROM f, json_to_record('{"at": "now"}') AS x(at timestamptz)
-- query
-- refused: without a type
SELECT count(DISTINCT x.at::text) FROM f, LATERAL jsonb_populate_recordset(NULL::cts, jsonb '[{"at": "now"}]') AS x
-- query
-- answered
SELECT count(*) FROM f WHERE coalesce(d, 'today')::timestamptz < 'now'
-- query
-- answered
SELECT count(DISTINCT x) FROM (SELECT replace(replace(t, 'today', '2024-01-01'), 'now', '')::date AS x FROM f) z
-- query
-- answered
SELECT count(DISTINCT x) FROM (SELECT nullif(t, 'today')::date AS x FROM f) z
-- query
-- answered
SELECT count(DISTINCT x) FROM (SELECT (CASE WHEN t = 'now' THEN t ELSE '2024-01-01' END)::date AS x FROM f) z
-- query
-- answered
SELECT count(DISTINCT x) FROM (SELECT ('{"today": "2024-01-01"}'::json ->> 'day')::text AS x FROM f) z
-- query
-- answered
SELECT count(DISTINCT x::text) FROM (SELECT y::timestamptz AS x FROM (SELECT d AS y FROM f UNION ALL SELECT 'today') w) z
-- query
-- answered
SELECT count(DISTINCT x::text) FROM (SELECT 'now'::text::timestamptz AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x::timestamp) FROM f, unnest(ARRAY['now']) u(x)
-- query
-- refused: without a type
SELECT count(DISTINCT x::timestamptz) FROM f, LATERAL unnest(ARRAY['2024-01-01', 'now'], ARRAY['a', 'b']) u(x, y)
-- query
-- refused: without a type
SELECT count(DISTINCT x::timestamptz) FROM f, jsonb_array_elements_text('["now"]') u(x)
-- query
-- refused: without a type
SELECT count(DISTINCT x::timestamptz) FROM f, LATERAL jsonb_array_elements_text('["today"]') x
-- query
-- refused: without a type
SELECT count(DISTINCT value::timestamptz) FROM f, json_each_text('{"at": "now"}')
-- query
-- refused: without a type
SELECT count(DISTINCT x::timestamptz) FROM f, string_to_table('now', ',') x
-- query
-- refused: without a type
SELECT count(DISTINCT x::timestamptz) FROM f, regexp_split_to_table('now and then', ' and ') x
-- query
-- refused: without a type
SELECT count(DISTINCT (m[1])::timestamptz) FROM f, regexp_matches('now', '.*') m
-- query
-- answered
SELECT count(DISTINCT x) FROM f, unnest(ARRAY['now', 'today']) u(x)
-- query
-- answered
SELECT count(DISTINCT x::timestamptz) FROM f, unnest(ARRAY['2024-01-01', '2024-01-02']) u(x)
-- query
-- refused: without a type
SELECT count(DISTINCT x) FROM (SELECT (ARRAY['now', t])[1]::timestamptz AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x) FROM (SELECT overlay(t PLACING 'now' FROM 1)::timestamptz AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x) FROM (SELECT (regexp_match('now' || t, 'now'))[1]::timestamptz AS x FROM f) z
-- query
-- refused: without a type
SELECT count(DISTINCT x) FROM (SELECT (string_to_array('now,' || t, ','))[1]::timestamptz AS x FROM f) z
