-- an outer join that keeps a replicated table
SELECT c_custkey, o_orderkey FROM customer LEFT JOIN orders ON o_custkey = c_custkey AND o_totalprice > 300000 ORDER BY 1, 2

-- a join by another column than the key
SELECT a.o_orderkey, b.o_orderkey FROM orders a JOIN orders b ON a.o_custkey = b.o_custkey AND a.o_orderkey < b.o_orderkey

-- a median
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY o_totalprice) FROM orders

-- a window over all rows
SELECT o_orderkey, row_number() OVER (ORDER BY o_totalprice, o_orderkey) FROM orders WHERE o_orderstatus = 'P'

-- a replicated table without its matches
SELECT c_custkey FROM customer WHERE NOT EXISTS (SELECT 1 FROM orders WHERE o_custkey = c_custkey)

-- text in one, in an order
SELECT string_agg(o_clerk, ',' ORDER BY o_orderkey) FROM orders WHERE o_orderstatus = 'P'

-- a recursive query
WITH RECURSIVE keys(k) AS (SELECT min(o_orderkey) FROM orders UNION ALL SELECT (SELECT min(o_orderkey) FROM orders WHERE o_orderkey > k) FROM keys WHERE k < 20) SELECT k FROM keys
