SELECT v::numeric(15,2) AS "numeric(15,2)", v::numeric(38,0) AS "numeric(38,0)",
       v::numeric(76,30) AS "numeric(76,30)", v::numeric(12,-2) AS "numeric(12,-2)",
       (v::numeric / 1e14)::numeric(2,5) AS "numeric(2,5)"
FROM (VALUES ('0'), ('1234.56'), ('-9999999999.99'), ('0.005'), ('150'), (NULL)) AS t(v)
