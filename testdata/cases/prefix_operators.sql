-- symptom: operators before their only operand could not be read, or were grouped otherwise
-- shard: t=id
-- setup
CREATE TABLE t (id int PRIMARY KEY, v int, f float8);
INSERT INTO t SELECT i, i % 7 - 3, i * 1.5 FROM generate_series(1, 36) i;
CREATE TABLE copies (id int PRIMARY KEY);
INSERT INTO copies SELECT i FROM generate_series(1, 6) i;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
CREATE OPERATOR @#@ (FUNCTION = twice, RIGHTARG = int);
CREATE FUNCTION of_copies(n int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) + n FROM t';
CREATE OPERATOR |@| (FUNCTION = of_copies, RIGHTARG = int);
CREATE SCHEMA app;
CREATE OPERATOR app.## (FUNCTION = twice, RIGHTARG = int);
CREATE VIEW positive AS SELECT id, @ v AS v, - v AS w FROM t;
-- query
-- answered
SELECT id, @ v + 2, ~ v * 2, - @ v, |/ (f + 1) FROM t
-- query
-- answered
SELECT @ v AS a, sum(@ (v - 1)), count(*) FROM t GROUP BY a HAVING @ sum(v) >= 0 ORDER BY @ v
-- query
-- answered
SELECT @#@ v, @#@ v + 1, 3 - @#@ id FROM t WHERE @#@ @#@ v > - 4
-- query
-- answered
SELECT id, OPERATOR(app.##) v + 1, OPERATOR(pg_catalog.-) v FROM t ORDER BY id LIMIT 5
-- query
-- answered
SELECT v, w, count(*) FROM positive GROUP BY v, w
-- query
-- answered
SELECT a.id, b.id FROM t a JOIN t b ON @ a.v = b.id
-- query
-- answered
SELECT id FROM t WHERE id = @ -5 OR id = @#@ 3 OR v IN (~ 1, ~ -1)
-- query
-- refused: of_copies
SELECT |@| id FROM copies
-- query
-- refused: of_copies
SELECT id FROM t WHERE OPERATOR(public.|@|) v > 3
