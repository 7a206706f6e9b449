SELECT * FROM (VALUES
    ('[1,10)'::int4range, '(,5]'::int8range, '[1.5,2.5]'::numrange, '[2024-01-01,2024-02-01)'::daterange,
     '[2024-01-01 00:00,2024-01-01 12:00]'::tsrange, '(2024-01-01 00:00+00,)'::tstzrange),
    ('empty', 'empty', 'empty', 'empty', 'empty', 'empty'),
    ('(,)', '(,)', '(,)', '(,)', '(,)', '(,)'),
    (NULL, NULL, NULL, NULL, NULL, NULL),
    ('[5,5]', '[-9223372036854775808,9223372036854775807)', '(-0.001,0.001)', '(,2024-01-01]', '["0044-03-15 00:00 BC",)', '[,2024-01-01 00:00+05:30]')
) AS t("int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange")
