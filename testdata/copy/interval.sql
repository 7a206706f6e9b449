SELECT v::interval AS "interval" FROM (VALUES
    ('0'),
    ('1 day'),
    ('-1 day'),
    ('1 year 2 mons 3 days 04:05:06.789'),
    ('-1 year -2 mons +3 days -04:05:06'),
    ('1 mon -1 day'),
    ('-1 days +00:00:01'),
    ('00:00:00.000001'),
    ('-00:00:00.000001'),
    ('178000000 years'),
    ('-178956970 years -8 mons'),
    ('2147483647 days'),
    ('-2147483648 days'),
    ('2562047:00:00'),
    ('25:59:00'),
    (NULL)
) AS t(v)
