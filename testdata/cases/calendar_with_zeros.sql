-- symptom: a recipe, no fault: a series of days LEFT JOIN the facts has to give each day once, with nothing where there is nothing
-- shard: sales=id
-- setup
CREATE TABLE sales (id int PRIMARY KEY, dt date NOT NULL, at timestamp, amount int, shop text);
INSERT INTO sales SELECT i, date '2024-01-01' + i * 7 % 23, timestamp '2024-01-01' + i * interval '11 hours', i, chr(97 + i % 3) FROM generate_series(1, 40) i;
-- query
SELECT series::date AS dt, sum(amount) AS amount, count(sales.id) FROM generate_series('2024-01-01'::date, '2024-01-31'::date, '1 day'::interval) AS series LEFT JOIN sales ON sales.dt = series GROUP BY series ORDER BY series
-- query
WITH days AS (SELECT generate_series('2024-01-20'::date, '2024-01-27'::date, interval '1 day')::date AS day) SELECT to_char(d.day, 'YYYY-MM-DD') AS key, count(DISTINCT s.shop) AS shops, coalesce(sum(s.amount), 0) FROM days d LEFT JOIN sales s ON s.at::date = d.day GROUP BY d.day ORDER BY d.day
-- query
SELECT r.a, count(s.at) FROM (SELECT a, a + INTERVAL '1 Day' AS b FROM generate_series('2024-01-01 00:00'::timestamp, '2024-01-10 00:00', '1 Day') AS a) AS r LEFT OUTER JOIN sales s ON s.at >= r.a AND s.at < r.b GROUP BY r.a ORDER BY r.a
-- query
SELECT d, shop, coalesce(sum(amount), 0) AS n, sum(coalesce(sum(amount), 0)) OVER (PARTITION BY shop ORDER BY d) AS running FROM generate_series(1, 4) AS d CROSS JOIN (SELECT DISTINCT shop FROM sales) AS p LEFT JOIN sales USING (shop) WHERE sales.id IS NULL OR sales.id % 4 + 1 = d GROUP BY d, shop ORDER BY shop, d
-- query
SELECT m, (SELECT count(*) FROM sales WHERE extract(week FROM dt) = m) AS n FROM generate_series(1, 5) m ORDER BY m
