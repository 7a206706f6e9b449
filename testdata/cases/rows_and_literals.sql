-- symptom: a row or a literal lost what its table or the other side of a set operation gives it
-- shard: m=mid t=id
-- setup
CREATE TABLE m (mid int NOT NULL, n numeric(5,2), g int);
INSERT INTO m SELECT i, i / 4.0, nullif(i % 6, 0) FROM generate_series(1, 40) i;
CREATE TABLE t (id int NOT NULL, g int, c char(3), vc varchar(6));
INSERT INTO t SELECT i, i % 5, (array['x', 'y ', 'zz', 'abc'])[i % 4 + 1], (array['q', 'q ', 'qq'])[i % 3 + 1] FROM generate_series(1, 90) i;
-- query
-- refused: whole row
SELECT id2, row_to_json(y)::text, rank() OVER (ORDER BY id2) FROM m AS y(id2)
-- query
-- refused: pg_typeof
SELECT pg_typeof(m)::text, rank() OVER (ORDER BY mid) FROM m
-- query
-- refused: pg_typeof
SELECT pg_typeof(array_agg(m))::text FROM m
-- query
-- answered
SELECT mid, row_to_json(y)::text, rank() OVER (ORDER BY mid) FROM m AS y
-- query
-- refused: COLLATE
SELECT x || '|' FROM (SELECT 'y ' COLLATE "C" AS x FROM m UNION SELECT c FROM t) q
-- query
-- refused: COLLATE
SELECT pg_typeof(x)::text FROM (SELECT NULL COLLATE "C" AS x FROM m UNION SELECT vc FROM t) q
-- query
-- answered
SELECT x || '|' AS x FROM (SELECT 'y ' AS x FROM m UNION SELECT c FROM t) q ORDER BY 1
