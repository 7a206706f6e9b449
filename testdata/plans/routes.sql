-- values on two of four shards
SELECT o_orderkey FROM orders WHERE o_orderkey IN (1, 2, 5)

-- pinned through a join
SELECT l_linenumber FROM orders, lineitem WHERE o_orderkey = l_orderkey AND l_orderkey IN (1, 2)

-- partial aggregates of some shards
SELECT o_orderstatus, count(*) FROM orders WHERE o_orderkey IN (1, 2, 3) GROUP BY 1

-- two tables that are pinned to different shards
SELECT (SELECT o_totalprice FROM orders WHERE o_orderkey = 1), (SELECT o_totalprice FROM orders WHERE o_orderkey = 2)

-- one of two conditions
SELECT o_orderkey FROM orders WHERE o_orderkey = 1 OR o_totalprice > 500000

-- elements of an array on two of four shards
SELECT o_orderkey FROM orders WHERE o_orderkey = ANY ('{1,2,5,NULL}')

-- none of them
SELECT o_orderkey FROM orders WHERE o_orderkey = ANY (ARRAY[]::int8[])
