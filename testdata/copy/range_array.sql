SELECT * FROM (VALUES
    ('{"[1,10)",empty,NULL,"(,)"}'::int4range[], '{"{[1,10),[20,30)}","{}",NULL}'::int4multirange[]),
    ('{}', '{}'), (NULL, NULL)
) AS t("int4range[]", "int4multirange[]")
