-- symptom: functions that read tables by text, or tell of the server, were refused as expressions only
-- shard: ev=id
-- setup
CREATE TABLE ev (id int PRIMARY KEY, v int, w text);
CREATE TABLE copies (id int PRIMARY KEY);
INSERT INTO ev SELECT i, i % 4, 'w' || i FROM generate_series(1, 60) i;
INSERT INTO copies SELECT i FROM generate_series(1, 5) i;
CREATE EXTENSION tablefunc;
CREATE EXTENSION dblink;
CREATE VIEW database AS SELECT d FROM current_database() AS d;
CREATE VIEW words AS SELECT ndoc FROM ts_stat('SELECT to_tsvector(''simple'', w) FROM ev');
CREATE VIEW plain AS SELECT id, upper(w) AS w, to_char(id, '000') AS c FROM ev;
-- query
-- refused: current_database
SELECT d FROM current_database() AS d
-- query
-- refused: current_database
SELECT e.id, d FROM ev e CROSS JOIN LATERAL current_database() AS d
-- query
-- refused: the view public.database, which calls the function current_database
SELECT * FROM database
-- query
-- refused: current_database
SELECT count(*) FROM ev JOIN database ON w <> d
-- query
-- refused: current_catalog
SELECT current_catalog, id FROM ev
-- query
-- refused: ts_stat
SELECT sum(ndoc) FROM words
-- query
-- refused: ts_stat
WITH s AS (SELECT * FROM ts_stat('SELECT to_tsvector(''simple'', w) FROM ev')) SELECT count(*) FROM s
-- query
-- refused: query_to_xml
SELECT count(*) FROM copies c, unnest(xpath('//id', query_to_xml('SELECT id FROM ev', false, false, ''))) AS u
-- query
-- refused: table_to_xml
SELECT x FROM table_to_xml('ev', false, false, '') AS x
-- query
-- refused: ts_rewrite
SELECT id, ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery FROM ev') FROM ev
-- query
-- answered
SELECT id, ts_rewrite('a & b'::tsquery, 'a'::tsquery, 'c'::tsquery) FROM ev
-- query
-- refused: current_query
SELECT count(DISTINCT q) FROM ev, current_query() AS q
-- query
-- refused: current_query
SELECT length(current_query()) FROM ev
-- query
-- refused: crosstab
SELECT * FROM crosstab('SELECT v, v, id FROM ev ORDER BY 1') AS c(v int, a int, b int)
-- query
-- refused: crosstab2
SELECT * FROM crosstab2('SELECT w, w, w FROM ev ORDER BY 1')
-- query
-- refused: connectby
SELECT * FROM connectby('ev', 'id', 'v', '1', 0) AS t(id int, parent int, level int)
-- query
-- refused: dblink
SELECT * FROM ev, dblink('dbname=none', 'SELECT 1') AS d(x int)
-- query
-- refused: pg_backend_pid
SELECT count(DISTINCT p) FROM ev, pg_backend_pid() AS p
-- query
-- refused: version
SELECT v FROM version() AS v
-- query
-- refused: the number of an object
SELECT obj_description(id::oid, 'pg_class') FROM ev
-- query
-- refused: has_table_privilege
SELECT count(*) FROM ev WHERE has_table_privilege('ev', 'select')
-- query
-- refused: pg_column_size
SELECT sum(pg_column_size(w)) FROM ev
-- query
-- refused: current_setting
SELECT current_setting('port') FROM ev
-- query
-- refused: differs between databases
SELECT 'ev'::regclass::oid, id FROM ev
-- query
-- refused: differs between databases
SELECT max('ev'::regclass) FROM ev
-- query
-- refused: age
SELECT age('3'::xid) FROM ev
-- query
-- answered
SELECT count(*) FROM ev, generate_series(1, 3) AS g, unnest(ARRAY[1, 2]) AS u WHERE v = g
-- query
-- answered
SELECT id, w, c FROM plain WHERE w LIKE 'W1%'
-- query
-- answered
SELECT id, k, x FROM ev, jsonb_each(jsonb_build_object('a', v, 'b', w)) AS j(k, x)
-- query
-- answered
SELECT id, m FROM ev, regexp_matches(w, '\d', 'g') AS m
-- query
-- answered
SELECT id, p FROM ev, regexp_split_to_table(w, '1') AS p
-- query
-- answered
SELECT current_user = session_user, current_schema, current_setting('datestyle'), pg_typeof(w) = 'text'::regtype, count(*) FROM ev GROUP BY 4
