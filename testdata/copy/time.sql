SELECT v::time AS "time" FROM (VALUES
    ('00:00'),
    ('23:59:59.999999'),
    ('12:34:56.7'),
    ('00:00:00.000001'),
    (NULL)
) AS t(v)
