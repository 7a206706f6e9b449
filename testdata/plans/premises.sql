-- no sharded table
SELECT n_name FROM nation

-- a key that is pinned
SELECT o_totalprice FROM orders WHERE o_orderkey = 7

-- a join by shard keys, and one with a replicated table
SELECT o_orderdate, l_quantity, c_name FROM orders JOIN lineitem ON l_orderkey = o_orderkey LEFT JOIN customer ON c_custkey = o_custkey WHERE l_quantity > 49

-- groups, windows and DISTINCT by the shard key
SELECT DISTINCT l_orderkey, count(*) OVER (PARTITION BY l_orderkey) FROM lineitem

-- groups by the shard key, and a list of keys
SELECT o_orderkey, sum(o_totalprice) FROM orders WHERE o_orderkey IN (SELECT l_orderkey FROM lineitem WHERE l_tax > 0) GROUP BY o_orderkey

-- a subquery for the row outside
SELECT o_orderkey FROM orders WHERE (SELECT count(*) FROM lineitem WHERE l_orderkey = o_orderkey) > 3

-- an order that a merge keeps
SELECT o_orderkey, o_orderdate FROM orders ORDER BY o_orderdate DESC, 1 LIMIT 10

-- an order of text that is compared by bytes
SELECT o_orderkey FROM orders ORDER BY o_comment LIMIT 10

-- aggregates whose parts are put together again in PostgreSQL
SELECT o_orderpriority, avg(o_totalprice), stddev(o_custkey), count(DISTINCT o_custkey), min(o_comment) FROM orders GROUP BY 1 HAVING count(*) > 1

-- aggregates that DataFusion merges
SELECT o_custkey, count(*), sum(o_totalprice) FROM orders GROUP BY o_custkey

-- a volatile function
SELECT o_orderkey, random() FROM orders

-- a subquery that runs once
SELECT count(*) FROM orders WHERE o_totalprice > (SELECT avg(o_totalprice) FROM orders)

-- a common table expression that runs once
WITH top AS MATERIALIZED (SELECT o_custkey, sum(o_totalprice) AS total FROM orders GROUP BY 1 ORDER BY 2 DESC LIMIT 3) SELECT o_orderkey, total FROM orders JOIN top USING (o_custkey)

-- set operations
SELECT o_orderkey FROM orders EXCEPT SELECT l_orderkey FROM lineitem WHERE l_orderkey IS NOT NULL

-- tables that are collected
SELECT array_agg(o_orderkey ORDER BY o_comment) FROM orders WHERE o_orderstatus = 'P'

-- conditions on rows outside
SELECT c_name FROM customer WHERE 100000 < (SELECT sum(o_totalprice) FROM orders WHERE o_custkey = c_custkey)
