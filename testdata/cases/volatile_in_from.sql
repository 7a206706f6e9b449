-- symptom: what is volatile in FROM was evaluated once on each shard, not once
-- shard: ev=id
-- setup
CREATE TABLE ev (id int PRIMARY KEY, v int);
CREATE TABLE copies (id int PRIMARY KEY);
INSERT INTO ev SELECT i, i % 4 FROM generate_series(1, 60) i;
INSERT INTO copies SELECT i FROM generate_series(1, 5) i;
CREATE EXTENSION tablefunc;
CREATE VIEW chance AS SELECT random() AS x;
CREATE VIEW by_chance AS SELECT e.id, r FROM ev e, random() AS r;
-- query
-- answered
SELECT count(DISTINCT r), count(*) FROM ev, random() AS r
-- query
-- answered
SELECT count(DISTINCT r) FROM ev CROSS JOIN LATERAL random() AS r
-- query
-- answered
SELECT count(DISTINCT r) FROM ev LEFT JOIN random() AS r ON true
-- query
-- answered
SELECT count(DISTINCT r) FROM random() AS r, ev
-- query
-- answered
SELECT count(DISTINCT r) FROM ev, pg_catalog.gen_random_uuid() AS r
-- query
-- answered
SELECT count(DISTINCT (r, o)) FROM ev, random() WITH ORDINALITY AS f(r, o)
-- query
-- answered
SELECT count(DISTINCT x), count(*) FROM ev, normal_rand(3, 5, 1) AS n(x)
-- query
-- answered
SELECT count(DISTINCT x) FROM ev, (SELECT random() AS x) AS s
-- query
-- answered
SELECT count(DISTINCT x) FROM ev, (SELECT r AS x FROM random() AS r) AS s
-- query
-- answered
SELECT count(DISTINCT x) FROM ev, (VALUES (random())) AS s(x)
-- query
-- answered
SELECT count(DISTINCT x) FROM ev, chance
-- query
-- answered
SELECT count(DISTINCT r) FROM by_chance
-- query
-- answered
SELECT count(DISTINCT a.r), bool_and(a.r = b.r) IS NOT NULL FROM by_chance a JOIN by_chance b USING (id)
-- query
-- answered
WITH r AS (SELECT random() AS x) SELECT count(DISTINCT x) FROM ev CROSS JOIN r
-- query
-- answered
WITH r AS (SELECT x FROM random() AS x) SELECT count(DISTINCT a.x), bool_and(a.x = b.x) FROM ev, r a, r b
-- query
SELECT count(DISTINCT x) FROM (SELECT id, (SELECT random()) AS x FROM ev) AS s
-- query
-- answered
SELECT count(DISTINCT x) FROM (SELECT r AS x FROM ev, random() AS r UNION ALL SELECT 2) AS s
-- query
-- answered
SELECT r IS NOT NULL, count(*) FROM ev, random() AS r GROUP BY r
-- query
-- answered
SELECT v, count(DISTINCT r) FROM ev, random() AS r GROUP BY v
-- query
-- answered
SELECT count(DISTINCT c) FROM ev, clock_timestamp() AS c
-- query
-- answered
SELECT id FROM ev, random() AS r WHERE r < 2 ORDER BY id
-- query
-- answered
SELECT id FROM ev WHERE EXISTS (SELECT FROM random() AS r WHERE r < 2) ORDER BY id LIMIT 3
-- query
-- answered
SELECT e.id, g FROM ev e, generate_series(1, 1 + floor(random())::int) AS g
-- query
-- answered
SELECT count(*) FROM ev JOIN copies ON random() < 2
-- query
-- answered
SELECT count(DISTINCT r) FROM copies, random() AS r
