SELECT v::bit(1) AS "bit", v::bit(9) AS "bit", v::varbit AS "varbit"
FROM (VALUES (B''), (B'0'), (B'1'), (B'101010101'), (B'11111111000000001'), (NULL)) AS t(v)
