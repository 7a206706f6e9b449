-- a scalar subquery over all shards
SELECT o_orderkey FROM orders WHERE o_totalprice > (SELECT 2 * avg(o_totalprice) FROM orders)

-- IN with groups that span shards
SELECT o_orderkey FROM orders WHERE o_custkey IN (SELECT o_custkey FROM orders GROUP BY o_custkey HAVING count(*) > 20) ORDER BY 1

-- a derived table of all shards
SELECT o_orderkey, share FROM orders JOIN (SELECT o_custkey AS customer, sum(o_totalprice) AS share FROM orders GROUP BY 1) AS shares ON customer = o_custkey

-- a common table expression used twice
WITH totals AS (SELECT o_custkey AS customer, sum(o_totalprice) AS total FROM orders GROUP BY 1) SELECT customer, total FROM totals WHERE total = (SELECT max(total) FROM totals)
