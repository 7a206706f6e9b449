-- Select items without an alias, over t(a, "B c", ar, ts, s). One test compares the names
-- that PostgreSQL gives to these columns with ours.
a
A
t.a
T."B c"
"B c"
1
-1
+1
1.5
'x'
E'x'
$$x$$
N'x'
B'01'
X'ff'
NULL
true
FALSE
not true
a + 1
-a
a = 1 and a = 2
a is null
a in (1, 2)
a between 1 and 2
"B c" like 'x'
"B c" like 'x' escape '!'
"B c" similar to 'x'
"B c" || 'x'
(a)
((a))
(1)
(a + 1)
a::text
1::text
'1'::int
1::text::varchar(3)
(1 + 1)::numeric
-a::int
(a + 1)::bigint::float
cast(a as text)
cast(1 as double precision)
cast(1 as decimal(10, 2))
1::numeric
1::dec
1::real
1::float
1::float(10)
1::float(30)
1::smallint
1::int2
1::int4
1::int8
1::integer
1::bigint
1::float4
1::float8
1::bool
1::boolean
'x'::char
'x'::char(3)
'x'::character
'x'::character varying
'x'::character varying(3)
'x'::varchar
'x'::"char"
'x'::bpchar
'x'::name
'x'::nchar(2)
'1'::bit
'1'::bit(3)
'1'::bit varying
'1'::varbit
'x'::bytea
'1'::json
'1'::jsonb
'1'::xml
'{1}'::int[]
'{1}'::integer[][]
'{x}'::varchar(3)[]
'2020-01-01'::date
'1:00'::time
'1:00'::time(3)
'1:00'::timetz
'1:00'::time with time zone
'2020-01-01'::timestamp
'2020-01-01'::timestamp(3)
'2020-01-01'::timestamp without time zone
'2020-01-01'::timestamp with time zone
'2020-01-01'::timestamptz
'2020-01-01'::timestamptz(3)
'2020-01-01'::pg_catalog.date
'1 day'::interval
'1'::interval day
'1'::interval second(3)
'(1,2)'::point
'[1,2)'::int4range
'1'::oid
'pg_class'::regclass
'a'::tsvector
'a'::tsquery
'00000000-0000-0000-0000-000000000000'::uuid
'127.0.0.1'::inet
'127.0.0.1'::cidr
'1'::money
date '2020-01-01'
time '1:00'
timestamp '2020-01-01'
timestamp with time zone '2020-01-01'
timestamptz '2020-01-01'
interval '1 day'
interval '1' day
interval '1' year to month
int '1'
bigint '1'
numeric '1'
float8 '1'
bool 'true'
char 'x'
text 'x'
json '1'
jsonb '1'
xml '<a/>'
uuid '00000000-0000-0000-0000-000000000000'
point '(1,2)'
box '(1,2),(3,4)'
bytea 'x'
case when true then 1 end
case when true then 1 else a end
case when true then 1 else 2 end
case a when 1 then 1 else 2::int8 end
case a when 1 then 1 else upper("B c")::int end
case when true then 1 end::int8
coalesce(a, 1)
coalesce(a, 1)::int8
nullif(a, 1)
greatest(a, 1)
LEAST(a, 1)
exists (select 1)
not exists (select 1)
exists (select 1)::text
array[1, 2]
array[a]::text[]
array(select 1)
array(select a)::text[]
(array[1, 2])[1]
(array[1, 2])[1]::text
row(1, 2)
(1, a)
row()
row(1, 2)::text
(t.s).datid::text
(t).a
(s).datname
(s).datname::text
ar[1]
t.ar[1]
ar[1:2]
ar[1]::text
(select 1)
(select 1)::text
(select a)
(select a as "X y")
(select a as X)
(select a::text)
(select 1::text)
(select 1 union select 2)
(select 1 as z union select 2 as y)
(with x as (select 1 as y) select y from x)
(select count(*) from (select 1) x)
a = any (array[1])
a = all (select 1)
a in (select 1)
row(a, a) = row(1, 2)
(a, a) in (select 1, 2)
count(*) over ()
count(a) filter (where true) over (partition by a)
pg_catalog.upper('x')
pg_catalog."upper"('x')
UPPER('x')
upper('x')::name
now()
current_date
CURRENT_TIME
current_time(3)
current_timestamp
current_timestamp(0)
localtime
localtime(1)
localtimestamp
localtimestamp(2)
current_user
session_user
user
current_catalog
current_schema
current_role
current_schema()
current_date::text
extract(year from ts)
extract('epoch' from ts)
extract(day from ts)::int
substring("B c" from 1)
substring("B c" from 1 for 2)
substring("B c" for 2)
substring("B c", 1, 2)
substring("B c" from 'x')
substr("B c", 1)
trim("B c")
trim(both 'x' from "B c")
trim(leading 'x' from "B c")
trim(trailing 'x' from "B c")
trim("B c", 'x')
btrim("B c")
position('x' in "B c")
overlay("B c" placing 'y' from 1)
overlay("B c" placing 'y' from 1 for 1)
ceil(1.5)
ceiling(1.5)
floor(1.5)
round(1.5)
mod(a, 2)
date_part('year', ts)
date(ts)
left('x', 1)
right('x', 1)
replace('x', 'y', 'z')
char_length('x')
ts at time zone 'UTC'
(ts at time zone 'UTC')::date
"B c" collate "C"
"B c" collate "C" || 'x'
("B c" || 'x') collate "C"
'x' collate "C"
upper("B c") collate "C"
(ts, ts) overlaps (ts, ts)
"B c" is normalized
"B c" is not normalized
"B c" is nfc normalized
normalize("B c")
a is distinct from 1
~a
@a
|/ a
a operator(pg_catalog.+) 1
"B c" ~ 'x'
'{"a":1}'::json -> 'a'
'{"a":1}'::json ->> 'a'
('{"a":1}'::jsonb)['a']
json_build_object('a', 1)
jsonb_build_object('a', 1) -> 'a'
make_interval(days => 1)
xmlforest(a)
xmlconcat('<a/>')
upper('ä')
