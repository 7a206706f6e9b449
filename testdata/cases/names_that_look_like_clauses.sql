-- symptom: a reader passed where a name in its FROM looked like the beginning of another clause
-- shard: t=id
-- setup
CREATE TABLE t (id int PRIMARY KEY, s text);
INSERT INTO t SELECT i, 'w' || i FROM generate_series(1, 40) i;
CREATE FUNCTION by_column() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT count(*) FROM generate_series(1, 2) a(by) JOIN generate_series(1, 2) c(by) ON a.by = c.by, t $$;
CREATE FUNCTION by_alias() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT count(*) FROM generate_series(1, 1) AS by, t $$;
CREATE FUNCTION by_values() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT count(*) FROM json_to_record('{"values":1}') AS a("values" int) JOIN generate_series(1, 1) g ON a.values = g, t $$;
CREATE FUNCTION age(a int, b int) RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT count(*) FROM t WHERE id BETWEEN a AND b $$;
CREATE FUNCTION by_age(a int) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT public.age(a, a + 100) $$;
CREATE FUNCTION today() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT timestamptz 'today UTC' $$;
CREATE FUNCTION listed(i int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT max(x + y) FROM generate_series(1, i) x, generate_series(1, 2) y ORDER BY 1 $$;
-- query
-- refused: t
SELECT by_column()
-- query
-- refused: t
SELECT by_alias(), count(*) FROM t GROUP BY 1
-- query
-- refused: t
SELECT by_values()
-- query
-- refused: age
SELECT sum(by_age(1)) FROM t
-- query
-- refused: today
SELECT today(), count(*) FROM t
-- query
-- answered
SELECT id, listed(id) FROM t WHERE id < 4 ORDER BY id
