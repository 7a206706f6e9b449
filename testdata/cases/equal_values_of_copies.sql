-- symptom: of equal values of a copied table each shard chose another, as its copy lies in another order; and chance and floats differed
-- shard: f=id
-- setup
CREATE TABLE f (id int PRIMARY KEY, k int);
INSERT INTO f SELECT i, i % 3 FROM generate_series(1, 60) i;
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE r (id int PRIMARY KEY, a int, n numeric, p numeric(5,2), v interval, b bpchar, c text COLLATE nocase, j jsonb, x float8, t text);
INSERT INTO r SELECT i, i % 3, (array['1.0', '1.00', '1.000'])[1 + i % 3]::numeric, i % 4, (array['24 hours', '1 day'])[1 + i % 2]::interval,
    (array['x', 'x  '])[1 + i % 2], (array['Ab', 'aB', 'AB'])[1 + i % 3], (array['1.0', '1.00'])[1 + i % 2]::jsonb, (array['-0', '0'])[1 + i % 2]::float8, 't' || i % 5
FROM generate_series(1, 60) i;
-- query
-- answered
SELECT count(DISTINCT z.n::text) FROM f, (SELECT DISTINCT n FROM r) z
-- query
-- answered
SELECT count(DISTINCT z.n::text), count(*) FROM f, (SELECT n, count(*) FROM r GROUP BY n) z
-- query
-- answered
SELECT count(DISTINCT z.n::text) FROM f, (SELECT min(n) AS n FROM r) z
-- query
-- answered
SELECT count(DISTINCT z.n::text) FROM f, (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY n) AS n FROM r) z
-- query
-- answered
SELECT count(DISTINCT z.n::text) FROM f, (SELECT mode() WITHIN GROUP (ORDER BY n) AS n FROM r) z
-- query
-- answered
SELECT count(DISTINCT z.n::text) FROM f, (SELECT sum(DISTINCT n) AS n FROM r) z
-- query
-- answered
SELECT count(DISTINCT z.n::text) FROM f, (SELECT n FROM r UNION SELECT n FROM r) z
-- query
-- answered
SELECT count(DISTINCT z.n::text) FROM f, (SELECT p AS n FROM r UNION SELECT n FROM r) z WHERE z.n = 1
-- query
-- answered
SELECT count(DISTINCT z.n::text) FROM f, (SELECT n FROM r INTERSECT ALL SELECT 1.0 FROM r WHERE id < 9) z
-- query
-- answered
SELECT count(DISTINCT z.v::text) FROM f, (SELECT max(v) AS v FROM r) z
-- query
-- answered
SELECT count(DISTINCT z.b::text || '|') FROM f, (SELECT DISTINCT b FROM r) z
-- query
-- answered
SELECT count(DISTINCT z.c COLLATE "C") FROM f, (SELECT c FROM r GROUP BY ROLLUP (c)) z
-- query
-- answered
SELECT count(DISTINCT z.c COLLATE "C") FROM f, (SELECT DISTINCT c::text FROM r) z
-- query
-- answered
SELECT count(DISTINCT z.j::text) FROM f, (SELECT DISTINCT j FROM r) z
-- query
-- answered
SELECT count(DISTINCT z.x::text) FROM f, (SELECT max(x) AS x FROM r) z
-- query
-- answered
WITH RECURSIVE z AS (SELECT n FROM r UNION SELECT n FROM z) SELECT count(DISTINCT z.n::text) FROM f, z
-- query
-- answered
WITH z AS MATERIALIZED (SELECT DISTINCT n FROM r) SELECT count(DISTINCT z.n::text) FROM f, z, z AS y
-- query
-- answered
SELECT f.id, (SELECT min(n)::text FROM r WHERE r.a = f.k) IS NOT NULL FROM f ORDER BY 1
-- query
-- answered
SELECT count(DISTINCT m) FROM (SELECT k, (SELECT min(n)::text FROM r) AS m FROM f) z
-- query
SELECT count(DISTINCT q) FROM f, (SELECT avg(id::float8 / 7) AS q FROM r) z
-- query
SELECT count(DISTINCT q) FROM f, (SELECT corr(id, a) AS q FROM r) z
-- query
SELECT count(DISTINCT s) FROM f, (SELECT a FROM r GROUP BY a HAVING string_agg(t, ',') > 't5') z(s)
-- query
-- answered
SELECT count(*) % 60 FROM f, (SELECT id FROM r GROUP BY id HAVING random() < 0.5) z
-- query
-- answered
SELECT count(DISTINCT cc) <= 2 FROM f, (SELECT count(*) AS cc FROM r GROUP BY random() < 0.5) z
-- query
-- answered
SELECT count(*) % 60 FROM f, (SELECT id FROM r ORDER BY id LIMIT (random() * 10)::int) z
-- query
-- answered
SELECT count(*) % 60 FROM f, (SELECT id FROM r ORDER BY id OFFSET (random() * 10)::int) z
-- query
-- answered
SELECT count(DISTINCT z.p), count(*) FROM f, (SELECT DISTINCT p FROM r) z
-- query
-- answered
SELECT z.t, count(*), max(m) FROM f, (SELECT lower(t) AS t, max(p) AS m, sum(n) AS s, avg(p) FROM r GROUP BY lower(t)) z GROUP BY 1 ORDER BY 1
-- query
-- answered
SELECT z.t, count(*) FROM f, (SELECT t FROM r UNION SELECT 'x' UNION ALL SELECT t FROM r EXCEPT SELECT 't1') z GROUP BY 1 ORDER BY 1
-- query
-- answered
SELECT count(DISTINCT z.y::text) FROM f, (SELECT extract(second FROM make_time(0, 0, id % 60)) AS y FROM r UNION SELECT extract(hour FROM make_time(id % 24, 0, 0)) FROM r) z WHERE z.y = 1
