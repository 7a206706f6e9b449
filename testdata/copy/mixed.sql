SELECT v AS "int8", repeat(chr(97 + v::int % 26), v::int) AS "text", NULLIF(v % 3, 0) = 1 AS "bool", ARRAY[v, NULL, -v] AS "int8[]"
FROM generate_series(0::int8, 99) AS t(v)
