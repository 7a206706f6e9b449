-- symptom: the number of an object came to light behind a derived table, an array, a view or a function
-- shard: t=id
-- setup
CREATE TABLE t (id int PRIMARY KEY, s text);
INSERT INTO t SELECT i, 'w' || i FROM generate_series(1, 40) i;
CREATE VIEW named AS SELECT id, 'public.t'::regclass AS c FROM t;
CREATE FUNCTION number() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT 'public.t'::regclass::bigint $$;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE moods (id int PRIMARY KEY, m mood);
INSERT INTO moods VALUES (1, 'sad'), (2, 'ok');
-- query
-- answered
SELECT 't'::regclass, id FROM t ORDER BY id LIMIT 3
-- query
-- answered
SELECT 't'::regclass::text AS name, count(*) FROM t GROUP BY 1
-- query
-- answered
SELECT count(*) FROM t WHERE pg_typeof(s) = 'text'::regtype
-- query
-- refused: the number of an object
SELECT r::oid FROM (SELECT 't'::regclass AS r FROM t) q LIMIT 1
-- query
-- refused: the number of an object
SELECT (ARRAY['t'::regclass])::oid[]::text FROM t
-- query
-- refused: the number of an object
SELECT max(x) FROM (VALUES ('t'::regclass), ('moods'::regclass)) v(x)
-- query
-- refused: the number of an object
SELECT c::oid::int, count(*) FROM named GROUP BY 1
-- query
-- refused: the number of an object
SELECT 16388::oid::regclass FROM t
-- query
-- refused: the number of an object
SELECT x::oid::int FROM (SELECT pg_typeof(s) AS x FROM t WHERE id = 1) q
-- query
-- refused: a number that each database gives itself
SELECT number(), count(*) FROM t GROUP BY 1
-- query
-- refused: hash_array
SELECT hash_array(ARRAY[m]), count(*) FROM moods GROUP BY 1
-- query
-- refused: hash_record
SELECT hash_record(ROW(m)) FROM moods
