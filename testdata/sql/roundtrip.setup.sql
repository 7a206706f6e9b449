-- What the statements in roundtrip/ read.
SET TimeZone = 'UTC';
CREATE TYPE pair AS (x int, y text);
CREATE TEMP TABLE t (a int, b text, c numeric(8, 2), d timestamp, f float8, bo bool, ar int[], j jsonb, p pair);
INSERT INTO t VALUES
  (1, 'one', 1.50, '2020-01-31 10:20:30.5', 1.5, true, '{1,2,3}', '{"a": 1, "b": [10, 20]}', (1, 'x')),
  (2, 'two', 2.25, '2021-02-28', -2.5, false, '{4,5,6}', '{"a": {"b": "x"}}', (2, 'y')),
  (3, 'three', NULL, '2022-03-01 23:59:59', 0, NULL, NULL, 'null', NULL),
  (4, NULL, 10.00, NULL, NULL, true, '{7}', '[1, 2]', (NULL, NULL));
CREATE TEMP TABLE u (a int, k int, v text);
INSERT INTO u VALUES (1, 10, 'i'), (1, 11, 'j'), (2, 20, 'k'), (5, 50, 'l');
CREATE TEMP TABLE "Odd Name" ("Col A" int, "b""c" text, "select" int);
INSERT INTO "Odd Name" VALUES (1, 'x', 2), (3, 'y', 4);
CREATE FUNCTION pg_temp.plus(x int, y int DEFAULT 10) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x + y';
CREATE FUNCTION pg_temp.total(VARIADIC x int[]) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT sum(i) FROM unnest(x) i';
