-- symptom: the query of a view, put into a statement, found functions that users had made later
-- shard: t=k
-- setup
CREATE TABLE t (k int PRIMARY KEY, v int);
INSERT INTO t SELECT i, i % 7 FROM generate_series(1, 60) i;
CREATE VIEW sizes AS SELECT k, cardinality(ARRAY[v, 1]) AS n, ARRAY[v] = ARRAY[3] AS e FROM t;
CREATE VIEW counts AS SELECT v, count(k > 30) AS c FROM t GROUP BY v;
CREATE VIEW items AS SELECT k, u FROM t, unnest(ARRAY[v]) AS u;
CREATE VIEW more AS SELECT k, u FROM unnest(ARRAY[1, 2]) AS u, t;
CREATE FUNCTION cardinality(int[]) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 42';
CREATE FUNCTION differ(int[], int[]) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE OPERATOR = (LEFTARG = int[], RIGHTARG = int[], FUNCTION = differ);
CREATE FUNCTION yes(bigint, boolean) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2::int';
CREATE AGGREGATE count(boolean) (SFUNC = yes, STYPE = bigint, INITCOND = '0');
CREATE FUNCTION unnest(int[]) RETURNS SETOF int LANGUAGE sql IMMUTABLE AS 'SELECT 42';
-- query
-- answered
SELECT k, n, e FROM sizes
-- query
-- answered
SELECT n, count(*) FROM sizes WHERE e GROUP BY n
-- query
-- answered
SELECT v, c FROM counts
-- query
-- answered
SELECT sum(c) FROM counts
-- query
-- answered
SELECT sum(u) FROM items
-- query
-- answered
SELECT u, count(*) FROM more GROUP BY u
-- query
-- answered
SELECT k, cardinality(ARRAY[v, 1]), ARRAY[v] = ARRAY[3] FROM t
-- query
-- answered
SELECT v, count(k > 30), count(*), sum(k) FROM t GROUP BY v
-- query
-- answered
SELECT sum(u), count(*) FROM t, unnest(ARRAY[v]) AS u
