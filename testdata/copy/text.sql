SELECT v AS "text", v::varchar(20) AS "varchar", v::bpchar(6) AS "bpchar", v::refcursor AS "refcursor"
FROM (VALUES (''), ('a'), (' a  '), ('é🦆'), (E'a\tb\nc\\d"e''f'), ('NULL'), (NULL)) AS t(v)
