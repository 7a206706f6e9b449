-- rows as they are
SELECT o_orderkey, o_totalprice FROM orders WHERE o_orderstatus = 'F'

-- a join by the key, and one with a replicated table
SELECT l_linenumber, c_name FROM lineitem JOIN orders ON o_orderkey = l_orderkey JOIN customer ON c_custkey = o_custkey

-- a limit without an order
SELECT o_orderkey FROM orders LIMIT 5 OFFSET 2

-- groups that are whole on their shard
SELECT l_orderkey, count(*), array_agg(l_partkey ORDER BY l_linenumber) FROM lineitem GROUP BY l_orderkey HAVING count(*) > 5

-- semi and anti joins by the key
SELECT o_orderkey FROM orders WHERE EXISTS (SELECT 1 FROM lineitem WHERE l_orderkey = o_orderkey AND l_returnflag = 'R') AND o_orderkey NOT IN (SELECT l_orderkey FROM lineitem WHERE l_tax > 0.07)

-- a window by the key
SELECT l_orderkey, rank() OVER (PARTITION BY l_orderkey ORDER BY l_extendedprice DESC) FROM lineitem

-- UNION ALL of sharded tables
SELECT o_orderkey FROM orders WHERE o_totalprice > 400000 UNION ALL SELECT l_orderkey FROM lineitem WHERE l_quantity = 50

-- DISTINCT that has the key
SELECT DISTINCT l_orderkey, l_returnflag FROM lineitem

-- a correlated subquery by the key
SELECT o_orderkey, (SELECT max(l_shipdate) FROM lineitem WHERE l_orderkey = o_orderkey) FROM orders
