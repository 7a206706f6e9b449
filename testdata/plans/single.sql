-- replicated tables only
SELECT n_name, r_name FROM nation JOIN region ON r_regionkey = n_regionkey ORDER BY 1

-- no table at all
SELECT 1 AS one

-- the key is pinned
SELECT o_totalprice FROM orders WHERE o_orderkey = 7

-- the key is pinned, and what is joined by it
SELECT count(*) FROM orders JOIN lineitem ON l_orderkey = o_orderkey WHERE o_orderkey = 7 AND l_quantity > 10

-- values that are all on one shard
SELECT o_orderkey FROM orders WHERE o_orderkey IN (4, 8, 12) ORDER BY o_totalprice

-- a replicated table with a subquery on a replicated one
SELECT s_name FROM supplier WHERE s_nationkey IN (SELECT n_nationkey FROM nation WHERE n_name LIKE 'A%')
