-- Rows that aggregates stumble over. Where a group would have values that are equal and print
-- differently (1.0 and 1.00, 0 and -0), which of them PostgreSQL shows is open: left out.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'Angry');
CREATE TABLE t AS
SELECT id,
    g1,
    (ARRAY['a', 'B', 'é', NULL])[1 + h1 % 4] COLLATE "en-x-icu" AS g2,
    CASE WHEN h1 % 5 > 0 THEN (h2 % 60000 - 30000)::int2 END AS i2,
    CASE WHEN h2 % 7 > 0 THEN (CASE WHEN h1 % 11 = 0 THEN 2147483647 - h2 ELSE h1 - 5000 END)::int4 END AS i4,
    CASE h1 % 9 WHEN 0 THEN 9223372036854775807 - h2 WHEN 1 THEN -9223372036854775807 + h1
        WHEN 2 THEN NULL ELSE h1::int8 * h2 END AS i8,
    (h1 % 5)::int4 AS few,
    -- The scale follows from the value.
    CASE WHEN h2 % 10 > 0
        THEN (h1 % 1000 - 500)::numeric + (1 + h2 % 9)::numeric / 10::numeric ^ (h1 % 8) END::numeric AS n,
    CASE WHEN g1 = 0 AND h1 % 50 = 0 THEN 'NaN' WHEN g1 = 1 AND h1 % 50 = 0 THEN 'Infinity'
        WHEN g1 = 2 AND h1 % 50 = 0 THEN CASE WHEN h1 % 100 = 0 THEN 'Infinity' ELSE '-Infinity' END
        ELSE (h1 * 3 - h2)::text END::numeric AS ns,
    (h1 * 1000003::numeric * h2 * 1e25 + h1 * 1e-12)::numeric AS nbig,
    (h1 * 1e-28)::numeric AS ntiny,
    0.3333333333333333333333::numeric AS nsame,
    CASE WHEN h1 % 6 > 0 THEN (h2 * 1.07 - 4000)::numeric(15,2) END AS price,
    (h1 % 11 * 0.01)::numeric(5,2) AS discount,
    CASE WHEN h1 % 6 > 0 THEN (h2 / 7.0)::float4 END AS r,
    CASE WHEN h2 % 6 > 0 THEN h1 / 3.0::float8 END AS f,
    CASE WHEN h2 % 8 > 0 THEN h1 * 2 + h2 / 70.0::float8 END AS f2,
    1e9 + h1 / 1e4::float8 AS fm,
    h1 * 1e-163::float8 AS ftiny,
    CASE WHEN g1 = 0 AND h1 % 50 = 0 THEN 'NaN' WHEN g1 = 1 AND h1 % 50 = 0 THEN 'Infinity'
        WHEN g1 = 2 AND h1 % 50 = 0 THEN CASE WHEN h1 % 100 = 0 THEN 'Infinity' ELSE '-Infinity' END
        WHEN g1 = 3 THEN CASE WHEN h1 % 9 = 0 THEN '-0' ELSE '-7.5' END
        WHEN g1 = 4 THEN 'NaN'
        ELSE (h2 / 9.0)::text END::float8 AS fs,
    0.1::float8 AS fsame,
    5::int4 AS isame,
    make_interval(months => h1 % 30 - 9, days => h2 % 90 - 40, secs => h1 / 7.0) AS iv,
    (h1 - h2 * 0.01)::numeric::money AS m,
    CASE WHEN h1 % 13 > 0 THEN g1 < 5 AND h1 % 70 > 0 END AS b,
    ((ARRAY['a', 'B', 'é', 'z', '', '_', 'ß', 'Aa'])[1 + h2 % 8] || h1 % 3) COLLATE "C" AS tc,
    ((ARRAY['a', 'B', 'é', 'z', '', '_', 'ß', 'Aa'])[1 + h2 % 8] || h1 % 3) COLLATE "en-x-icu" AS ti,
    ((ARRAY['x', 'y', 'Z'])[1 + h1 % 3])::varchar(5) AS vc,
    ((ARRAY['x', 'y', 'Z'])[1 + h1 % 3])::char(5) AS bp,
    CASE h1 % 40 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' ELSE date '2000-01-01' + h1 END::date AS d,
    timestamptz '2020-02-02 02:02:02+00' + h2 * interval '1 s 1 us' AS ts,
    (ARRAY['sad', 'ok', 'happy', 'Angry'])[1 + h2 % 4]::mood AS e,
    CASE WHEN h1 % 4 > 0 THEN ARRAY[h1 % 5, NULL, h2 % 3] END AS a,
    (h1 % 256)::int4::bit(8) AS bt,
    ('10.0.' || h1 % 9 || '.' || h2 % 200)::inet AS ip,
    CASE WHEN h1 % 30 = 0 THEN 'empty' ELSE int4range(h1 % 100 * 50, h1 % 100 * 50 + h2 % 70) END::int4range AS rg,
    int4range(h1 % 10, 1000 + h2 % 10) AS rw,
    CASE WHEN g1 IS NULL THEN 0 WHEN g1 = 0 THEN 1 ELSE id % 3 END AS part
FROM (
    SELECT id, nullif(id * 7919 % 7, 6) AS g1, id * 7919 % 10007 AS h1, id * 104729 % 9973 AS h2
    FROM generate_series(1, 2000) AS id
) AS s;
CREATE TABLE p0 AS SELECT * FROM t WHERE part = 0;
CREATE TABLE p1 AS SELECT * FROM t WHERE part = 1;
CREATE TABLE p2 AS SELECT * FROM t WHERE part = 2;
CREATE TABLE q0 AS SELECT * FROM t WHERE id % 4 < 2;
CREATE TABLE q1 AS SELECT * FROM t WHERE false;
CREATE TABLE q2 AS SELECT * FROM t WHERE id % 4 = 2 AND id > 1;
CREATE TABLE q3 AS SELECT * FROM t WHERE id % 4 = 3 AND id > 1;
CREATE TABLE q4 AS SELECT * FROM t WHERE false;
-- Few rows: groups of one.
CREATE TABLE few AS SELECT * FROM t WHERE id <= 90;
CREATE TABLE s0 AS SELECT * FROM few WHERE id <= 40;
CREATE TABLE s1 AS SELECT * FROM few WHERE id > 40;
-- No rows at all.
CREATE TABLE none AS SELECT * FROM t WHERE false;
ANALYZE;
