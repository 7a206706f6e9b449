-- symptom: functions of users were not looked at where the parser knows the name
-- shard: t=k
-- setup
CREATE TABLE t (k int PRIMARY KEY, v int, w text);
INSERT INTO t SELECT i, i % 7, 'w' || i FROM generate_series(1, 60) i;
CREATE FUNCTION unnest(int[]) RETURNS SETOF int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM t';
CREATE FUNCTION ceil(int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t';
CREATE FUNCTION floor(int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t';
CREATE FUNCTION "substring"(int, int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t';
CREATE FUNCTION lower(int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t';
CREATE FUNCTION same(text, int) RETURNS bool LANGUAGE sql STABLE AS 'SELECT count(*) = 60 FROM t';
CREATE OPERATOR ~~ (LEFTARG = text, RIGHTARG = int, FUNCTION = same);
CREATE OPERATOR = (LEFTARG = text, RIGHTARG = int, FUNCTION = same);
-- query
-- refused: unnest
SELECT u FROM unnest(ARRAY[1, 2]) AS u
-- query
-- refused: unnest
SELECT count(*) FROM t, unnest(ARRAY[v]) AS u
-- query
-- refused: unnest
SELECT unnest(ARRAY[v]) FROM t
-- query
-- refused: ceil
SELECT ceil(v) FROM t
-- query
-- refused: floor
SELECT floor(v) FROM t
-- query
-- refused: substring
SELECT substring(v, 1) FROM t
-- query
-- refused: lower
SELECT lower(v) FROM t
-- query
-- refused: operator ~~
SELECT count(*) FROM t WHERE w LIKE v
-- query
-- refused: operator =
SELECT count(*) FROM t WHERE w = v
-- query
-- refused: operator =
SELECT count(*) FROM t WHERE w IN (1, 2)
-- query
-- refused: operator =
SELECT CASE w WHEN 1 THEN 2 END FROM t
-- query
-- refused: operator =
SELECT count(*) FROM t WHERE w IS DISTINCT FROM v
-- query
-- refused: operator =
SELECT nullif(w, v) FROM t
-- query
-- answered
SELECT upper(w), v + 1 FROM t WHERE v < 3
