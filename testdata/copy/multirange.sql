SELECT * FROM (VALUES
    ('{[1,10),[20,30)}'::int4multirange, '{(,5]}'::int8multirange, '{[1.5,2.5],(3,4)}'::nummultirange, '{[2024-01-01,2024-02-01)}'::datemultirange,
     '{[2024-01-01 00:00,2024-01-01 12:00]}'::tsmultirange, '{(2024-01-01 00:00+00,)}'::tstzmultirange),
    ('{}', '{}', '{}', '{}', '{}', '{}'),
    (NULL, NULL, NULL, NULL, NULL, NULL),
    ('{(,)}', '{(,1),(5,)}', '{}', '{(,2024-01-01],[2025-01-01,)}', '{}', '{(,)}')
) AS t("int4multirange", "int8multirange", "nummultirange", "datemultirange", "tsmultirange", "tstzmultirange")
