SELECT v::macaddr8 AS "macaddr8" FROM (VALUES
    ('00:00:00:00:00:00:00:00'),
    ('08:00:2b:01:02:03:04:05'),
    (NULL)
) AS t(v)
