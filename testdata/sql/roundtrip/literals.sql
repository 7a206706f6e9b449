SELECT 1, 1.5, .5, 1., 1e10, 1.5e-3, 1E+2, 12345678901234567890, 0.000000000000000000000000000001;
SELECT 0, 00, 007, 1.0, 1.00, 1.50;
SELECT 2147483647, 2147483648, 9223372036854775807, 9223372036854775808, -2147483648, -9223372036854775808;
SELECT 'a', '', ' ', 'it''s', '''', '''''', 'a''''b', '''a''';
SELECT 'a\b', 'a\', '\', '\\', 'a\nb', '\''', 'a\''b';
SELECT E'a\nb', E'\t', E'\\', E'\'', E'it''s', E'\x41', E'\101', E'\u0041', E'\U0001F600', E'a\bb\fc\rd';
SELECT E'\uD83D\uDE00', E'a\zb', E'''', E'\\\'';
SELECT e'lower', E'' , E'%\\_';
SELECT U&'d\0061t\+000061', U&'\0441\043B\043E\043D', U&'a\\b', U&'a''b';
SELECT U&'d!0061t!+000061' UESCAPE '!';
SELECT U&"d\0061ta" FROM (SELECT 1 AS data) x;
SELECT u&'plain';
SELECT $$a$$, $$it's$$, $x$a $$ b$x$, $$a\b$$, $$$$, $tag$line
two$tag$;
SELECT 'a'
  'b';
SELECT 'a' -- comment
  'b'
  'c';
SELECT E'a\n'
  'b\n';
SELECT N'national', n'x';
SELECT B'0101', b'1', X'1F', x'ff', B'';
SELECT B'0101' | B'0011', B'01' || B'10', X'1F'::bit(8);
SELECT TRUE, true, False, NULL, null, Null;
SELECT true::text, NULL::int, null::text;
SELECT DATE '2020-01-31', TIME '10:20', TIMESTAMP '2020-01-31 10:20:30', TIMESTAMPTZ '2020-01-31 10:20:30+02';
SELECT date'2020-01-31', time without time zone '10:20', time with time zone '10:20+01', timetz '10:20+01';
SELECT timestamp without time zone '2020-01-31', timestamp with time zone '2020-01-31 00:00+02';
SELECT time(3) '10:20:30.123456', timestamp(0) '2020-01-31 10:20:30.6', timestamptz(2) '2020-01-31 10:20:30.666', timestamp(3) with time zone '2020-01-31 10:20:30.6666+00', time(1) with time zone '10:20:30.66+00';
SELECT INTERVAL '1 day', interval '1 year 2 months 3 days 04:05:06.7', interval '-1 day', interval '1' ;
SELECT INTERVAL '1' DAY, INTERVAL '1' YEAR, INTERVAL '1' MONTH, INTERVAL '1' HOUR, INTERVAL '1' MINUTE, INTERVAL '1' SECOND;
SELECT INTERVAL '1-2' YEAR TO MONTH, INTERVAL '1 2' DAY TO HOUR, INTERVAL '1 2:3' DAY TO MINUTE, INTERVAL '1 2:3:4' DAY TO SECOND;
SELECT INTERVAL '2:3' HOUR TO MINUTE, INTERVAL '2:3:4' HOUR TO SECOND, INTERVAL '3:4' MINUTE TO SECOND;
SELECT INTERVAL '1.2345' SECOND(2), INTERVAL '1 2:3:4.567' DAY TO SECOND(1), INTERVAL(3) '1.23456';
SELECT interval '1 day' * 2, 2 * interval '1 day', interval '1 day' + interval '1 hour', - interval '1 day';
SELECT interval '1 day' AS interval, interval '1' day AS day, '1'::interval year, cast('1' as interval day), '1-2'::interval year to month, '1.23456'::interval second(2), '1.23456'::interval(2);
SELECT int '1', int4 '1', integer '1', bigint '1', smallint '1', numeric '1.5', decimal '1.5', real '1.5', float '1.5', float8 '1.5', double precision '1.5', bool 'true', boolean 'f';
SELECT text 'x', varchar 'x', char 'x', character varying 'x', bytea '\x00ff', uuid '00000000-0000-0000-0000-000000000001', name 'x', oid '1', "char" 'x';
SELECT varchar(2) 'xyz', char(3) 'x', numeric(5, 1) '1.25', bit(3) '101', bit varying(5) '101', character varying(1) 'xyz';
SELECT json '{"a": 1}', jsonb '{"a": 1}', xml '<a/>', inet '127.0.0.1', cidr '10.0.0.0/8', macaddr '08:00:2b:01:02:03', money '1.50';
SELECT point '(1,2)', box '(1,2),(3,4)', circle '((1,2),3)', line '{1,2,3}', lseg '((1,2),(3,4))', path '((1,2),(3,4))', polygon '((1,2),(3,4),(5,6))';
SELECT int4range '[1,5)', tsrange '[2020-01-01,2020-02-01)', tsvector 'a b', tsquery 'a & b', int4multirange '{[1,2),[3,4)}';
SELECT pg_catalog.int4 '1', pg_catalog.date '2020-01-01', pg_catalog.varchar(2) 'xyz';
SELECT 'x'::text, '1'::integer, '1'::int2, '1'::bigint, '1.5'::numeric, '1.25'::numeric(5, 1), '1.5'::numeric(5), '1.5'::decimal(4,2), '1'::dec, '1.5'::real, '1.5'::float(20), '1.5'::double precision;
SELECT 'x'::varchar, 'xyz'::varchar(2), 'x'::character varying, 'xyz'::character varying(2), 'x'::char, 'x'::char(3), 'x'::character(3), 'x'::bpchar, 'x'::"char", 'x'::nchar(3), 'xyz'::national character varying(2), 'xyz'::char varying(2), 'x'::name;
SELECT '1'::bit, '101'::bit(3), '101'::bit varying, '101'::bit varying(2), '101'::varbit(2);
SELECT '{1,2}'::int[], '{{1},{2}}'::int[][], '{1}'::integer[3], '{a}'::text[], '{1.5}'::numeric(5,1)[], '{x}'::varchar(3)[], '{2020-01-01}'::timestamp(0)[], '{2020-01-01}'::timestamp with time zone[];
SELECT '{1}'::int ARRAY;
SELECT '{1}'::int ARRAY[3];
SELECT CAST('{1}' AS int ARRAY);
SELECT CAST('1' AS int), CAST(1.5 AS numeric(3, 1)), CAST('x' AS char(2)), CAST(NULL AS text), cast('{1}' as int[]), CAST('2020-01-01' AS timestamp(3) without time zone), CAST('1:00' AS time with time zone);
SELECT 'pg_class'::regclass, 'int4'::regtype, 'now'::regproc, 'pg_catalog'::regnamespace;
SELECT '2020-01-01'::date, '2020-01-01'::timestamptz, '2020-01-01'::timestamp with time zone, '2020-01-01 10:20:30.6'::timestamptz(0), '10:20'::time, '10:20:30.66'::time(1), '10:20+01'::timetz(0), '10:20'::time without time zone;
SELECT '(1,x)'::pair, ROW(1, 'x')::pair, (1, 'x')::pair, '{"(1,x)"}'::pair[];
SELECT '1'::pg_catalog.int4, '{1}'::pg_catalog.int4[], '1'::"int4";
SELECT 'été', '日本語', '😀', 'a	b', 'two
lines';
SELECT 'null', 'NULL', '{NULL}'::text[], '{"NULL"}'::text[];
SELECT '%', '_', '%s', '$1', '?', ':a', '@', '#', '--', '/* no */', '//';
SELECT "Col A", "b""c", "select" FROM "Odd Name" ORDER BY "Col A";
SELECT o."Col A", o."select" AS "SELECT", o."b""c" AS "x""y" FROM "Odd Name" AS o ORDER BY 1;
SELECT 1 AS "a b", 2 AS "A", 3 AS a, 4 AS Été, 5 AS "日本", 6 AS _x, 7 AS x$1, 8 AS x1;
SELECT 1 x, 2 "y", 3 AS "from", 4 value, 5 name, 6 type, 7 date, 8 text, 9 key, 10 first, 11 last, 12 count, 13 user_name;
SELECT 1 AS select, 2 AS from, 3 AS where, 4 AS end, 5 AS case, 6 AS array, 7 AS all, 8 AS user, 9 AS order, 10 AS as;
SELECT 1 AS year, 2 AS month, 3 AS day, 4 AS hour, 5 AS minute, 6 AS second, 7 AS interval, 8 AS timestamp, 9 AS zone;
SELECT value, name, type, key, level, data, status, position, version FROM (VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9)) v(value, name, type, key, level, data, status, position, version);
SELECT year, month, day, hour, minute, second, date, time, timestamp, text FROM (VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)) v(year, month, day, hour, minute, second, date, time, timestamp, text);
SELECT x.values, x.year, x."values", x.date, x.end, x.user FROM (SELECT 1 AS values, 2 AS year, 3 AS date, 4 AS end, 5 AS user) x;
SELECT t.a, T.A, "t"."a", t . a, t. a FROM t;
SELECT A FROM T;
SELECT pg_temp.t.a FROM pg_temp.t;
SELECT/*c*/a/*c*/FROM/*c*/t;
SELECT a -- one
, b /* two /* nested */ still */ FROM t -- three
WHERE a = 1 -- four
;
/* before */ SELECT 1 /* after */;
SELECT a--b
FROM t;
SELECT 1 -- 'quote
, 2;
SELECT 1 /* ' */, '/*', 2, '*/';
SELECT /*+ SeqScan(t) */ a FROM t;
SELECT
	a	,
	b
FROM
	t
;
select A, B from T where A = 1 order by B desc;
SeLeCt a FrOm t WhErE a Is NoT nUlL;
SELECT interval(0) '1 day 01:23:45.6789', interval(3) '1.23456' + interval '1 day', pg_lsn '0/16AE7F7' > pg_lsn '0/1';
SELECT name 'x', cidr '10.0.0.0/8', "char" 'x', int4range '[1,5)' @> 3, pg_catalog.int4 '1' + 1, regclass $$pg_class$$::text, NOT bool 'f';
