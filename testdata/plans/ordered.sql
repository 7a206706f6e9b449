-- by columns that are selected
SELECT o_orderkey, o_orderdate FROM orders ORDER BY o_orderdate DESC, o_orderkey

-- by a column that is not selected
SELECT o_clerk FROM orders ORDER BY o_orderkey

-- with a limit and an offset
SELECT o_orderkey FROM orders ORDER BY 1 LIMIT 10 OFFSET 20

-- nulls first
SELECT l_orderkey, l_shipdate FROM lineitem ORDER BY l_shipdate NULLS FIRST, 1, l_linenumber FETCH FIRST 3 ROWS ONLY

-- groups by the key, ordered
SELECT l_orderkey, sum(l_quantity) AS quantity FROM lineitem GROUP BY 1 ORDER BY 1 LIMIT 3

-- text by its bytes
SELECT o_orderkey FROM orders ORDER BY o_comment COLLATE "C", o_orderkey LIMIT 2

-- text under the collation of the database
SELECT o_comment FROM orders ORDER BY o_comment LIMIT 2

-- an expression as the key
SELECT o_orderkey FROM orders ORDER BY o_orderkey % 10, o_orderkey LIMIT 4
