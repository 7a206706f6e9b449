// SQL expressions of every type, with its edges, and what is expected of each under the default
// options. Under other options the expectation follows, see `src/types/mod.rs`.

/// What the tables use beside the built-in types.
pub(crate) const SCHEMA: &str = r#"
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
CREATE EXTENSION ltree;
CREATE EXTENSION cube;
CREATE EXTENSION isn;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy', 'null', 'with "quote"', 'é', '{,}');
CREATE TYPE no_mood AS ENUM ();
CREATE DOMAIN amount AS numeric(10,2);
CREATE DOMAIN small_amount AS amount CHECK (value < 1000);
CREATE DOMAIN ints AS int4[];
CREATE DOMAIN grid AS int4[][];
CREATE DOMAIN amounts AS numeric(10,2)[];
CREATE DOMAIN code AS char(5);
CREATE DOMAIN my_mood AS mood;
CREATE DOMAIN any_numeric AS numeric;
CREATE TYPE pair AS (a int4, b text);
CREATE TYPE "Odd ""Name" AS ("first field" int4, "é" text);
CREATE TYPE priced AS
    (amount numeric(10,2), code char(5), tags text[], grid int4[][], small small_amount, feel mood);
CREATE TYPE nest AS (id int8, one pair, many pair[], span int4range, spans datemultirange, doc jsonb);
CREATE TYPE dated AS (n int4, at date);
CREATE TYPE nothing AS ();
CREATE TYPE with_acl AS (n int4, acl aclitem);
CREATE DOMAIN my_pair AS pair CHECK ((value).a > 0);
CREATE TYPE floatrange AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TYPE textrange AS RANGE (subtype = text, collation = "C");
CREATE TYPE moodrange AS RANGE (subtype = mood);
CREATE TYPE pairrange AS RANGE (subtype = pair);
CREATE TYPE amountrange AS RANGE (subtype = amount);
CREATE DOMAIN my_range AS int4range;
CREATE SCHEMA other;
CREATE TYPE other.mood AS ENUM ('other');
CREATE TYPE other.pair AS (x other.mood, y mood);
CREATE TABLE rows_of (a int4, gone text, b numeric(6,3)[], c date);
ALTER TABLE rows_of DROP COLUMN gone;
INSERT INTO rows_of VALUES (1, '{1.5,NULL}', '2024-02-29'), (NULL, NULL, NULL);
CREATE TABLE cells (
    flat int4[], grid int4[][], cube numeric(4,1)[][][], price numeric(15,2), code char(5),
    label varchar(3), flags bit(3), small small_amount, smalls small_amount[]);
INSERT INTO cells VALUES
    ('{1,2}', '{{1,2},{3,NULL}}', '{{{1,2.5}},{{3,4}}}', 12.3, 'ab', 'abc', B'101', 9.5, '{1.25,NULL}'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('{}', '{}', '{}', 0, '', '', B'000', 0, '{}');
"#;

/// Printed as the server prints it.
#[rustfmt::skip]
pub(crate) const SAME: &[&str] = &[
    // Numbers.
    "true", "false", "0::int2", "(-32768)::int2", "32767::int2", "(-2147483648)::int4", "2147483647",
    "(-9223372036854775808)::int8", "9223372036854775807::int8", "0::oid", "4294967295::oid",
    "2147483648::oid", "'4294967295'::xid", "'4294967295'::cid", "'18446744073709551615'::xid8",
    "'NaN'::float4", "'Infinity'::float4", "'-Infinity'::float4", "'-0'::float4", "1e-45::float4",
    "3.4028235e38::float4", "1.17549435e-38::float4", "16777217::float4", "0.1::float4",
    "'NaN'::float8", "'Infinity'::float8", "'-Infinity'::float8", "'-0'::float8", "5e-324::float8",
    "1.7976931348623157e308::float8", "2.2250738585072014e-308::float8", "1e23::float8", "0.1::float8",
    "1e15::float8", "9007199254740993::float8", "pi()", "random() < 2", "123.45::numeric(5,2)",
    "0::numeric(5,2)", "(-0.01)::numeric(5,2)", "1234567::numeric(5,-2)",
    "(repeat('9', 1) || '.' || repeat('9', 75))::numeric(76,75)",
    "('9.' || repeat('9', 37))::numeric(38,37)", "('-999.' || repeat('9', 35))::numeric(38,35)",
    "49::numeric(3,-2)", "99900::numeric(3,-2)", "0.00012::numeric(2,5)", "(-0.00099)::numeric(2,5)",
    "'99999999999999999999999999999999999999'::numeric(38)",
    "'-99999999999999999999999999999999999999'::numeric(38)",
    "'0.99999999999999999999999999999999999999'::numeric(38,38)", "repeat('9', 76)::numeric(76)",
    "('0.' || repeat('0', 75) || '1')::numeric(76,76)",
    "(repeat('9', 38) || '.' || repeat('9', 38))::numeric(76,38)", "1::numeric(39,1)", "0::numeric(1)",
    "1e10::numeric(11)", "10000::numeric(20,4)", "0.0001::numeric(20,4)",
    "100000000.00000001::numeric(20,8)", "12.34::money", "'-92233720368547758.08'::money",
    "'92233720368547758.07'::money",
    // Text.
    "''", "'a'", "'é🦆'", "E'\\t\\n\\r\\\\'", "repeat('x', 100000)", "'a'::char(3)", "'a '::varchar(3)",
    "''::bpchar", "'x'::name", "''::name", "'a'::\"char\"", "''::\"char\"", "' '::\"char\"",
    "0::\"char\"", "127::\"char\"", "'NULL'", "'Abc'::citext", "'a.b_c.D'::ltree", "'*.a|b.*'::lquery",
    "'a & b* | c@'::ltxtquery", "''::ltree", "'c'::refcursor", "'<a>é</a>'::xml", "''::xml",
    "'<?xml version=\"1.0\" standalone=\"yes\"?><a/>'::xml",
    "'<?xml version=\"1.1\" encoding=\"UTF-8\"?><a/>'::xml", "'{\"b\" : 1,  \"a\":2, \"b\": 3}'::json",
    "'{\"b\" : 1,  \"a\":2, \"b\": 3}'::jsonb", "'null'::jsonb", "'1.10'::jsonb", "'1e400'::jsonb",
    "'\"\\u00e9\"'::jsonb", "'[]'::jsonb", "' 1 '::json",
    "'$.a[*] ? (@.b > 1 && exists (@.c))'::jsonpath", "''::bytea", "'\\x00ff'::bytea",
    "decode(repeat('ab', 5000), 'hex')", "gen_random_uuid() IS NULL",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
    // Dates and times.
    "date '1970-01-01'", "date '1969-12-31'", "date '2000-02-29'", "date '0001-01-01'",
    "date '0001-12-31 BC'", "date '4714-11-24 BC'", "date '5874897-12-31'", "date '10000-01-01'",
    "time '00:00'", "time '23:59:59.999999'", "time '12:34:56.1'", "time(0) '12:34:56.7'",
    "timetz '24:00+00'", "timetz '12:34:56.5-15:59:59'", "timetz '00:00+15:59'",
    "timetz '01:02:03+05:30'", "timestamp '1970-01-01'", "timestamp '1969-12-31 23:59:59.999999'",
    "timestamp '4714-11-24 00:00:00 BC'", "timestamp '0001-12-31 23:59:59.5 BC'",
    "timestamp '294246-12-31 23:59:59.999999'", "timestamp '2024-01-01 24:00'",
    "timestamptz '1970-01-01 00:00+00'", "timestamptz '2024-06-01 12:00:00.123456+05:30'",
    "timestamptz '4714-11-24 00:00:00+00 BC'", "timestamptz '294246-12-31 23:59:59.999999+00'",
    "timestamptz(3) '2024-06-01 12:00:00.1239+00'", "interval '0'", "interval '1 day'",
    "interval '-1 day'", "interval '1 mon'", "interval '30 days'", "interval '720 hours'",
    "interval '1 year 2 mons 3 days 04:05:06.789'",
    "interval '-1 year -2 mons +3 days -04:05:06.000001'", "interval '1 mon -1 day'",
    "interval '-1 mon 1 sec'", "interval '178956970 years 7 mons'",
    "interval '-178956970 years -8 mons'", "interval '2147483647 days'", "interval '-2147483648 days'",
    "interval '2562047:47:16.854775'", "interval '-2562047:47:16.854775'", "interval '1.5 years'",
    "interval '-0.000001 sec'",
    // Networks, bits, numbers of the system.
    "inet '10.0.0.1'", "inet '10.0.0.1/8'", "inet '0.0.0.0/0'", "inet '::'", "inet '::1'", "inet '::2'",
    "inet '::1.2.3.4'", "inet '::ffff:1.2.3.4/96'", "inet '2001:db8:0:1::1/64'", "inet '::1:0'",
    "inet '1::'", "inet '1:0:0:2:0:0:0:3'", "inet '0:0:1::'", "inet '1:2:3:4:5:6:0:8'",
    "cidr '10.0.0.0/8'", "cidr '10.1.2.3'", "cidr '::/0'", "cidr '2001:db8::/32'",
    "cidr '::ffff:1.2.3.0/120'", "macaddr '08:00:2b:01:02:03'", "macaddr8 '08:00:2b:01:02:03:04:05'",
    "B'1'", "B''", "B'1010101010101010101'", "B'101'::varbit", "B''::varbit", "B'1'::bit(9)",
    "pg_lsn '0/0'", "pg_lsn 'FFFFFFFF/FFFFFFFF'", "pg_lsn '16/B374D848'", "tid '(4294967295,65535)'",
    "'(0,1)'::tid", "'pg_class'::regclass", "'int4'::regtype", "'now()'::regprocedure",
    "'+(int4,int4)'::regoperator", "'english'::regconfig", "'pg_catalog'::regnamespace", "0::regclass",
    "makeaclitem(10, 10, 'SELECT', true)", "'1 -2 3'::int2vector", "''::int2vector",
    "'4294967295 0'::oidvector", "pg_snapshot '10:20:10,14,15'", "txid_snapshot '10:20:10,14,15'",
    // Text search, geometry, others without a binary form here.
    "'a fat cat:3A'::tsvector", "''::tsvector", "'fat & (rat | !cat:AB*)'::tsquery", "point '(1,-0)'",
    "point '(NaN,Infinity)'", "lseg '[(1,2),(3,4)]'", "box '(1,2),(3,4)'", "path '[(1,2),(3,4)]'",
    "path '((1,2),(3,4))'", "polygon '((0,0),(1,1),(2,0))'", "circle '<(1,2),3>'", "line '{1,2,3}'",
    "cube '(1,2),(3,4)'", "isbn '978-0-393-04002-9'", "row(1, 'a b', NULL, ARRAY[1,2])", "row()",
    "row(row(1, NULL), date 'infinity')", "pg_sleep(0)", "pg_catalog.pg_get_expr(NULL, 0)", "NULL",
    "ARRAY[row(1,2), row(NULL, 'x')]",
    // hstore.
    "''::hstore", "'a=>1, b=>NULL, \"c d\"=>\"\\\"\\\\\"'::hstore", "'\"\"=>\"\"'::hstore",
    "ARRAY['a=>1'::hstore, NULL, '']",
    // Enums and domains.
    "'sad'::mood", "'very happy'::mood", "'é'::mood", "'other'::other.mood", "'ok'::my_mood",
    "NULL::no_mood", "enum_range(NULL::mood)", "'{}'::no_mood[]", "ARRAY[NULL]::mood[]", "1.5::amount",
    "(-1.5)::small_amount", "'ab'::code", "'{1,2}'::ints", "'{1,2}'::grid", "'{1.5,NULL}'::amounts",
    "ARRAY[1.5, NULL]::small_amount[]", "ARRAY['{1,2}', NULL, '{}']::ints[]",
    "ARRAY['{{1},{2}}', '{}']::grid[]", "ARRAY['a', NULL]::code[]", "'(1,x)'::my_pair",
    "ARRAY['(1,x)', NULL]::my_pair[]", "'[1,5)'::my_range", "1.5::amount + 1.25::amount IS NULL",
    // Arrays.
    "'{}'::int4[]", "'{1,NULL,-3}'::int4[]",
    "'{NULL,\"NULL\",\"\",a b,\"a,b\",\"{}\",\"\\\"\\\\\"}'::text[]", "ARRAY[E'\\n', E'\\t', 'é', ' ']",
    "'{t,f,NULL}'::bool[]", "'{\"\\\\x00\",NULL}'::bytea[]", "'{a,\"\"}'::\"char\"[]",
    "'{\"a  \",b}'::char(3)[]", "'{NaN,-0,Infinity}'::float8[]", "'{1.50,NULL}'::numeric(5,2)[]",
    "'{2024-01-01,0001-01-01 BC}'::date[]", "'{2024-01-01 00:00,NULL}'::timestamp[]",
    "'{1 day,-1 mon}'::interval[]", "'{10.0.0.1,::1/64}'::inet[]", "'{\"[1,2)\",empty}'::int4range[]",
    "'{\"{[1,2),[3,4)}\"}'::int4multirange[]", "'{\"(1,2)\",\"(3,4)\"}'::point[]",
    "'{(1,2),(0,0);(3,4),(1,1)}'::box[]", "'{1 2,3}'::int2vector[]", "'{\"1 2\",\"\"}'::oidvector[]",
    "ARRAY[makeaclitem(10, 10, 'SELECT', true), NULL]", "ARRAY['{\"a\": 1}'::jsonb, NULL]",
    "ARRAY['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]", "ARRAY['<a/>'::xml]", "ARRAY[B'101', NULL]",
    "ARRAY[12.5::money]", "ARRAY['pg_class'::regclass]", "ARRAY[]::text[]",
    "(SELECT array_agg(i) FROM generate_series(1, 1000) i)",
    // Composites.
    "'(1,x)'::pair", "'(,)'::pair", "'(1,\"\")'::pair", "'(1,\" a,b(\"\"\\\\)\")'::pair", "NULL::pair",
    "row()::nothing", "'(1,é)'::\"Odd \"\"Name\"", "ARRAY['(1,x)', NULL, '(,)', '(2,\"a b\")']::pair[]",
    "'(1.5,ab,\"{a,NULL,\"\"c d\"\"}\",\"{{1,2},{3,4}}\",9.25,\"very happy\")'::priced",
    "'(,,,,,)'::priced",
    "row(1, row(2, 'x')::pair, ARRAY[row(3, 'y z')::pair, NULL], '[1,5)', '{[2024-01-01,2024-01-05)}', '{\"a\": [1]}')::nest",
    "ARRAY[row(1, NULL, '{}', 'empty', '{}', 'null')::nest]", "'(other,ok)'::other.pair",
    "'(1,2024-01-01)'::dated", "row(1, makeaclitem(10, 10, 'SELECT', true))::with_acl",
    "(SELECT array_agg(r) FROM rows_of r)", "(SELECT r FROM rows_of r LIMIT 1)",
    // Ranges.
    "'[1,10)'::int4range", "'empty'::int4range", "'(,)'::int4range", "'(,5]'::int8range",
    "'[5,5]'::int8range", "'[2024-01-01,)'::daterange",
    "'[2024-01-01 00:00,2024-01-01 12:00]'::tsrange", "'[0044-03-15 00:00 BC,)'::tsrange",
    "'(2024-01-01 00:00+00,)'::tstzrange", "'[1.5,NaN]'::floatrange",
    "'[-Infinity,Infinity)'::floatrange", "'[\"\",\"a b\"]'::textrange",
    "textrange(E'\"\\\\', '(', '[]')", "'[sad,\"very happy\"]'::moodrange",
    "pairrange(row(1,'a')::pair, row(2,'b c')::pair)", "'[1.25,2.5]'::amountrange",
    "'{}'::int4multirange", "'{[1,2),[5,)}'::int8multirange", "'{(,)}'::tstzmultirange",
    "'{[1.5,2.5]}'::floatmultirange", "'{[a,b],[c,d)}'::textmultirange",
];

/// `numeric` without a declared scale: the same number with the scale of its Arrow type.
#[rustfmt::skip]
pub(crate) const SCALED: &[&str] = &[
    "0::numeric", "0.000", "1.50", "-1.5", "10000::numeric", "99990000.0001", "1e17::numeric",
    "0.00000000000000000001", "999999999999999999.99999999999999999999",
    "-999999999999999999.99999999999999999999", "1.5::numeric(1000,500)", "1.5::any_numeric",
    "(SELECT avg(i) FROM generate_series(1, 1000) i)", "1.5::amount + 1", "1.50::numeric(1000,2)",
    "ARRAY[1.5, NULL, 2]", "'[1.5,2.50]'::numrange", "'{[1,2.5),(3,4)}'::nummultirange",
    "ARRAY[1.5, 2]::any_numeric[]", "7::numeric(77)",
];

/// A value that Arrow cannot hold, with part of the error, and what it is where such values are
/// NULL.
pub(crate) struct Unfit(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) AsNull,
);

pub(crate) enum AsNull {
    Null,
    Text(&'static str),
    /// Still the error.
    Error,
}
use AsNull::{Null, Text};

#[rustfmt::skip]
pub(crate) const UNFIT: &[Unfit] = &[
    Unfit("'NaN'::numeric", "NaN cannot be held by a decimal", Null),
    Unfit("'Infinity'::numeric", "Infinity cannot be held by a decimal", Null),
    Unfit("'-Infinity'::numeric", "-Infinity cannot be held by a decimal", Null),
    Unfit("'NaN'::numeric(5,2)", "NaN cannot be held by a decimal", Null),
    Unfit("'NaN'::amount", "NaN cannot be held by a decimal", Null),
    Unfit("ARRAY['NaN'::numeric(5,2), 1]::numeric(5,2)[]", "NaN cannot be held", Text("{NULL,1.00}")),
    Unfit("'[1,NaN]'::numrange", "field \"upper\": NaN cannot be held", AsNull::Error),
    Unfit("1e-21::numeric", "does not fit decimal(38,20) exactly", AsNull::Error),
    Unfit("1e18::numeric", "1000000000000000000 does not fit decimal(38,20) exactly", AsNull::Error),
    Unfit("1e131071::numeric", "does not fit decimal(38,20) exactly", AsNull::Error),
    Unfit("'1e-16383'::numeric", "does not fit decimal(38,20) exactly", AsNull::Error),
    Unfit("1 / 3::numeric * 1e-5", "does not fit decimal(38,20) exactly", AsNull::Error),
    Unfit("('0.' || repeat('0', 499) || '1')::numeric(1000,500)", "does not fit decimal(38,20)", AsNull::Error),
    Unfit("date 'infinity'", "infinity cannot be held by an Arrow date", Null),
    Unfit("date '-infinity'", "-infinity cannot be held by an Arrow date", Null),
    Unfit("timestamp 'infinity'", "infinity cannot be held by an Arrow timestamp", Null),
    Unfit("timestamp '-infinity'", "-infinity cannot be held by an Arrow timestamp", Null),
    Unfit("timestamptz 'infinity'", "infinity cannot be held by an Arrow timestamp", Null),
    Unfit("timestamptz '-infinity'", "-infinity cannot be held by an Arrow timestamp", Null),
    Unfit("timestamp '294276-12-31 23:59:59.999999'", "after the year 294246", Null),
    Unfit("timestamptz '294276-12-31 23:59:59.999999+00'", "after the year 294246", Null),
    Unfit("timestamp '294247-01-11'", "after the year 294246", Null),
    Unfit("time '24:00'", "24:00:00 cannot be held by an Arrow time", Null),
    Unfit("interval '2562048:00:00'", "more than 292 years", Null),
    Unfit("interval '-2562048:00:00'", "more than 292 years", Null),
    Unfit("ARRAY[date 'infinity', '2024-01-01']", "infinity cannot be held", Text("{NULL,2024-01-01}")),
    Unfit("'(1,infinity)'::dated", "field \"at\": infinity cannot be held", Text("(1,)")),
    Unfit("ARRAY['(1,infinity)'::dated]", "field \"at\": infinity cannot be held", Text("{\"(1,)\"}")),
    Unfit("daterange('2024-01-01', 'infinity')", "field \"upper\": infinity cannot be held", AsNull::Error),
    Unfit("'{[-infinity,2024-01-01)}'::datemultirange", "field \"lower\": -infinity", AsNull::Error),
    Unfit("'[0:1]={1,2}'::int4[]", "a lower bound other than 1", Null),
    Unfit("'{{1,2},{3,4}}'::int4[]", "an array of 2 dimensions in a column of 1", Null),
    Unfit("ARRAY[[1,2],[3,4]]", "an array of 2 dimensions in a column of 1", Null),
    // The dimensions of a domain are known only where it is part of another type.
    Unfit("'{{1,2},{3,4}}'::grid", "an array of 2 dimensions in a column of 1", Null),
    Unfit("ARRAY['{1,2}'::grid]", "an array of 1 dimensions in a column of 2", Text("{NULL}")),
    Unfit("'{{1},{2}}'::ints", "an array of 2 dimensions in a column of 1", Null),
    Unfit("row(1.5, 'a', '{{a}}', NULL, 1, NULL)::priced", "field \"tags\": an array of 2", Text("(1.50,\"a    \",,,1.00,)")),
];

/// Of the hashes `h` (64 bits) and `g` (32 bits) and the texts `c` and `d` of [`MANY_FROM`].
#[rustfmt::skip]
pub(crate) const MANY: &[&str] = &[
    "h", "g", "h::float8", "h::float8 * power(10::float8, g % 289)", "h::float8 / 1e5", "(h % 100000)::float8 / 1000",
    "h::float4", "(h % 1000000)::float4 * power(10, g % 30)::float4", "(h % 100000)::float4 / 1000", "g::float4",
    "(h::numeric / 1000000000)::numeric(38,9)", "(h::numeric * g)::numeric(60,3)", "h::numeric / 7::numeric ^ abs(g % 30)",
    "h::numeric * 10::numeric ^ (g % 200)", "(h % 1000)::numeric(8,5)", "(h % 9999900)::numeric(5,-2)",
    "h::numeric(76,38)", "('0.' || abs(h))::numeric(38,38)", "trim_scale(g::numeric / 1000)",
    "date '4714-11-24 BC' + (g & 2000000000)", "timestamp '4714-11-24 BC' + make_interval(abs(g) % 290000) + abs(g) * interval '12.345678 s'",
    "timestamptz '4714-11-24 00:00+00 BC' + make_interval(abs(g) % 9999) + abs(g) * interval '1.01 s'", "time '00:00' + g * interval '1.001 s'",
    "timetz '00:00+00' + g * interval '0.01 s'",
    "make_interval(g % 1000, g % 100, 0, (h % 10000)::int, 0, 0, (h % 1e9) / 1e3)", "(h % 1e15) * interval '1 us'",
    "justify_interval(g * interval '1234.5 s')", "'0.0.0.0'::inet + (g::int8 & 4294967295)",
    "set_masklen('0.0.0.0'::inet + (g::int8 & 4294967295), abs(g) % 33)",
    "(SELECT string_agg(to_hex(CASE WHEN (g >> k) & 3 = 0 THEN (h >> (6 * k)) & 65535 ELSE (h >> (20 + k)) & 1 END), ':') \
      FROM generate_series(0, 7) k)::inet",
    "network(set_masklen('::'::inet + abs(h), abs(g) % 129))", "substr(md5(g::text), 1, 12)::macaddr",
    "substr(md5(g::text), 1, 16)::macaddr8", "md5(g::text)::uuid", "decode(md5(g::text), 'hex')", "h::bit(64)",
    "substring(h::bit(64) for abs(g) % 65)::varbit", "'0/0'::pg_lsn + abs(h)::numeric", "ARRAY[h, NULL, g]",
    "ARRAY[ARRAY[h::text, c], ARRAY[d, NULL]]::text", "int8range(least(h, g), greatest(h, g))",
    "multirange(int4range(least(g, 0), greatest(g, 0)))", "jsonb_build_object('h', h, 'f', h::float8, c, d)",
    "json_build_array(h, c, d)", "c", "d", "ARRAY[c, d, c || d]", "ARRAY[c || '::' || d]::varchar(3)[]", "hstore(c, d)",
    "hstore(ARRAY[c, d, c || d], ARRAY[d, NULL, c])", "row(g, c)::pair", "ARRAY[row(g, c), row(NULL, d)]::pair[]",
    "row(h, row(g, c)::pair, ARRAY[row(g, d)::pair], NULL, NULL, to_jsonb(c))::nest", "textrange(c, NULL)",
    "textrange(least(c, d COLLATE \"C\"), greatest(c, d COLLATE \"C\"), '[]')", "ARRAY[textrange(c, NULL)]",
    "row(NULL, NULL, ARRAY[c, d], NULL, NULL, NULL)::priced", "(enum_range(NULL::mood))[1 + abs(g) % 7]",
    "ARRAY[(enum_range(NULL::mood))[1 + abs(g) % 7]]", "row(c, d)", "(abs(g) % 127)::\"char\"", "c::bpchar", "(h / 1000)::money",
    "point(h, g)", "to_tsvector('simple', md5(h::text) || ' ' || md5(g::text))", "CASE WHEN h > 0 THEN g END",
    "CASE WHEN h > 0 THEN c END", "CASE WHEN h > 0 THEN g > 0 END", "CASE WHEN h > 0 THEN ARRAY[g] END",
    "CASE WHEN h > 0 THEN row(g, c)::pair END", "CASE WHEN h > 0 THEN int4range(0, abs(g)) END",
];

pub(crate) const MANY_FROM: &str = "\
    FROM (SELECT ('x' || substr(md5(i::text), 1, 16))::bit(64)::int8 AS h, \
                 ('x' || substr(md5(i::text), 17, 8))::bit(32)::int4 AS g, \
                 chr(1 + i % 127) AS c, \
                 chr(1 + i / 127 % 127) || chr(160 + i * 17) AS d \
          FROM generate_series(1, 3000) i) AS hashes";
