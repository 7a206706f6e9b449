-- one group, counts and sums
SELECT count(*), count(o_clerk), sum(o_orderkey), sum(o_totalprice) FROM orders

-- minima and maxima
SELECT min(o_orderdate), max(o_totalprice), min(o_clerk) FROM orders

-- averages
SELECT o_orderstatus, avg(o_totalprice), avg(o_orderkey) FROM orders GROUP BY 1

-- floating point
SELECT avg(l_quantity::float8), sum(l_discount::float8), stddev(l_quantity::float8) FROM lineitem

-- moments of numeric
SELECT stddev(l_quantity), var_pop(l_quantity) FROM lineitem

-- expressions over aggregates, HAVING, ORDER BY and LIMIT
SELECT o_orderpriority, sum(o_totalprice) / count(*) AS average FROM orders GROUP BY o_orderpriority HAVING count(*) > 10 ORDER BY average DESC LIMIT 2

-- counted once each
SELECT count(DISTINCT o_custkey) FROM orders

-- some counted once, some always
SELECT o_orderstatus, count(DISTINCT o_custkey), count(*), sum(o_totalprice) FROM orders GROUP BY 1

-- DISTINCT
SELECT DISTINCT o_orderstatus, o_orderpriority FROM orders

-- with FILTER
SELECT count(*) FILTER (WHERE o_orderstatus = 'F') AS done, bool_and(o_totalprice > 0) FROM orders

-- ROLLUP
SELECT l_returnflag, l_linestatus, sum(l_quantity) FROM lineitem GROUP BY ROLLUP (1, 2) ORDER BY 1, 2

-- a window over groups
SELECT o_orderstatus, count(*), rank() OVER (ORDER BY count(*) DESC) FROM orders GROUP BY 1

-- groups by a column of a replicated table
SELECT n_name, sum(o_totalprice) FROM orders JOIN customer ON c_custkey = o_custkey JOIN nation ON n_nationkey = c_nationkey GROUP BY n_name ORDER BY 2 DESC

-- UNION without ALL
SELECT o_orderstatus FROM orders UNION SELECT l_linestatus FROM lineitem

-- a common table expression that is named three times is one step
WITH totals AS (SELECT o_custkey AS customer, o_orderstatus AS status, sum(o_totalprice) AS total FROM orders GROUP BY 1, 2) SELECT f.customer, f.total, o.total / f.total FROM totals f, totals o WHERE f.customer = o.customer AND f.status = 'F' AND o.status = 'O' AND f.total > (SELECT avg(totals.total) FROM totals)

-- groups by a name that is looked up
SELECT (SELECT c_name FROM customer WHERE c_custkey = o_custkey) AS customer, count(*), sum(o_totalprice) FROM orders GROUP BY (SELECT c_name FROM customer WHERE c_custkey = o_custkey) ORDER BY 2 DESC
