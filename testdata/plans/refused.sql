-- a system column
SELECT ctid FROM orders

-- a sample
SELECT * FROM orders TABLESAMPLE SYSTEM (10)

-- row locks
SELECT * FROM orders FOR UPDATE

-- a catalog of one database
SELECT count(*) FROM pg_catalog.pg_class
