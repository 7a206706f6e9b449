SELECT v::macaddr AS "macaddr" FROM (VALUES
    ('00:00:00:00:00:00'),
    ('08:00:2b:01:02:03'),
    ('ff:ff:ff:ff:ff:ff'),
    (NULL)
) AS t(v)
