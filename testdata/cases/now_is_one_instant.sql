-- symptom: now(), and what depends on it, was evaluated on each data node by itself
-- shard: ev=id
-- setup
CREATE TABLE ev (id int PRIMARY KEY, at timestamptz NOT NULL, d date);
CREATE TABLE copies (id int PRIMARY KEY);
INSERT INTO ev SELECT i, now() - i * interval '1 hour', current_date - i % 4 FROM generate_series(1, 60) i;
INSERT INTO copies SELECT i FROM generate_series(1, 5) i;
CREATE VIEW recent AS SELECT id, now() AS n, at > now() - interval '10 hours' AS fresh FROM ev;
-- query
SELECT count(DISTINCT now()), count(DISTINCT current_timestamp), count(DISTINCT n), max(n) = min(now()) FROM ev JOIN recent USING (id)
-- query
SELECT count(*) FILTER (WHERE at < now()), count(*) FILTER (WHERE d > 'yesterday'::date OR d = CURRENT_DATE), count(DISTINCT LOCALTIMESTAMP(0)), count(DISTINCT 'now'::timestamptz), count(DISTINCT transaction_timestamp() - 'today'::timestamp) FROM ev
-- query
SELECT max(now()) = (SELECT min(transaction_timestamp()) FROM ev) AS m, (SELECT max(now()) FROM ev) - (SELECT now() FROM copies LIMIT 1) AS d FROM ev
-- query
SELECT count(*) = count(DISTINCT random()), count(*) = count(DISTINCT gen_random_uuid()), bool_and(clock_timestamp() >= now()) FROM ev
-- query
SELECT count(DISTINCT r), count(*) FROM ev, random() AS r
-- query
SELECT count(DISTINCT c), count(*) FROM ev, clock_timestamp() AS c
-- query
SELECT count(DISTINCT x) FROM ev, (SELECT random() AS x) AS s
-- query
WITH r AS (SELECT random() AS x) SELECT count(DISTINCT x) FROM ev CROSS JOIN r
-- query
SELECT to_char(now(), 'YYYY') = extract(year FROM CURRENT_DATE)::text, age(max(at)) IS NULL FROM ev
