-- symptom: ORDER BY (name) took the column of FROM and ORDER BY (1) a constant, where PostgreSQL's grammar drops the parentheses; ORDER BY x.* sorted by the first column alone
-- shard: orders=id
-- setup
CREATE TABLE orders (id int PRIMARY KEY, cust int NOT NULL, status text);
INSERT INTO orders SELECT i, i % 7, 'st' || i % 5 FROM generate_series(1, 60) i;
-- query
-- answered
SELECT -id AS id FROM orders ORDER BY (id) LIMIT 3
-- query
-- answered
SELECT -id AS id, cust FROM orders ORDER BY ((id)) DESC, cust LIMIT 3
-- query
-- answered
SELECT id FROM (SELECT -id AS id FROM orders ORDER BY (id) LIMIT 3) s ORDER BY 1
-- query
-- answered
SELECT sum(id), (cust) AS status FROM orders GROUP BY (status), (cust) ORDER BY (status), 1 LIMIT 5
-- query
-- answered
SELECT -cust AS cust, count(*) FROM orders GROUP BY (cust) ORDER BY (cust)
-- query
-- answered
SELECT status AS id, id AS status FROM orders WHERE id < 9 ORDER BY (id), (status)
-- query
-- answered
SELECT -id AS id, rank() OVER (ORDER BY (id)) FROM orders WHERE id < 5 ORDER BY (id) NULLS FIRST
-- query
-- answered
SELECT id FROM orders ORDER BY (1) DESC LIMIT 3
-- query
-- answered
SELECT -id, cust FROM orders WHERE id < 9 ORDER BY ((1))
-- query
-- answered
SELECT id, cust FROM orders WHERE id < 9 ORDER BY 2, (1), id
-- query
-- answered
SELECT DISTINCT ON ((1)) cust, id FROM orders ORDER BY 1, id
-- query
-- answered
SELECT DISTINCT ON ((c)) -cust AS c, id FROM orders ORDER BY (c), id
-- query
-- answered
SELECT -max(id) AS id FROM orders GROUP BY cust ORDER BY (id) LIMIT 3
-- query
-- answered
SELECT id FROM orders UNION SELECT -id FROM orders ORDER BY (id) LIMIT 4
-- query
-- answered
SELECT id FROM orders UNION ALL SELECT -id FROM orders ORDER BY (1) LIMIT 4
-- query
-- answered
SELECT count(*), cust % 2 FROM orders GROUP BY (2) ORDER BY (2)
-- query
-- answered
SELECT p.cust, p.id FROM (SELECT cust, id FROM orders) p ORDER BY p.* LIMIT 4
-- query
-- answered
SELECT p.cust, p.id FROM (SELECT cust, id FROM orders) p ORDER BY (p.*) DESC OFFSET 3 LIMIT 4
-- query
-- answered
SELECT x.b FROM (SELECT 1 AS a, id AS b FROM orders) x ORDER BY x.* NULLS FIRST FETCH FIRST 2 ROWS WITH TIES
-- query
-- answered
SELECT z.b FROM (SELECT x.b FROM (SELECT cust % 3 AS a, id AS b FROM orders) x ORDER BY x.* LIMIT 2) z
-- query
SELECT DISTINCT ON (x.*) x.b FROM (SELECT cust % 3 AS a, id AS b FROM orders) x ORDER BY x.*
-- query
SELECT count(*) FROM (SELECT cust % 3 AS a, cust AS b FROM orders) x GROUP BY x.*
-- query
SELECT max(x.b) FROM (SELECT cust % 3 AS a, cust AS b FROM orders) x GROUP BY x.* ORDER BY 1
-- query
SELECT x.b FROM (SELECT cust AS a, id AS b FROM orders) x ORDER BY x.* IS NULL, x.b LIMIT 2
-- query
SELECT id AS o FROM orders o ORDER BY o.* LIMIT 3
-- query
SELECT row_to_json(x) FROM (SELECT count(*) AS c, id + 1 AS d FROM orders GROUP BY id HAVING id < 6) x ORDER BY x.*
