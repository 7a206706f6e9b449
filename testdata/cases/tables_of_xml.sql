-- symptom: XMLTABLE was refused
-- shard: t=id
-- setup
CREATE TABLE t (id int PRIMARY KEY, g int, x xml);
INSERT INTO t SELECT i, i % 4, ('<r xmlns:n="http://n"><p k="' || i || '"><q>' || i % 3 || '</q></p><p k="' || i + 100 || '"><n:s>s' || i % 2 || '</n:s></p></r>')::xml FROM generate_series(1, 24) i;
CREATE TABLE copies (id int PRIMARY KEY, x xml);
INSERT INTO copies SELECT i, ('<r><p>' || i || '</p></r>')::xml FROM generate_series(1, 4) i;
CREATE TYPE mood AS ENUM ('sad', 'happy');
-- query
-- answered
SELECT t.id, y.k, y.q, y.o FROM t, XMLTABLE('/r/p' PASSING t.x COLUMNS k int PATH '@k', q int NOT NULL DEFAULT -1 PATH 'q', o FOR ORDINALITY) y
-- query
-- answered
SELECT y.q, count(*), sum(y.k) FROM t, LATERAL XMLTABLE('/r/p' PASSING BY REF x COLUMNS k int PATH '@k', q text PATH 'q' DEFAULT 'none') y GROUP BY y.q
-- query
-- answered
SELECT g, s FROM t LEFT JOIN XMLTABLE(XMLNAMESPACES('http://n' AS n), '/r/p' PASSING x COLUMNS s text PATH 'n:s') AS y(s) ON s = 's1'
-- query
-- answered
SELECT xmltable.p, t.id FROM copies, XMLTABLE('/r' PASSING copies.x COLUMNS p int) JOIN t ON t.g = p
-- query
SELECT t.id, rank() OVER (ORDER BY y.p) FROM t JOIN XMLTABLE(XMLNAMESPACES(DEFAULT 'http://d'), '/d:r' PASSING '<r xmlns="http://d"><p>3</p></r>' COLUMNS p int PATH 'd:p' NULL) y ON y.p = t.g
-- query
SELECT t.id, rank() OVER (ORDER BY y.p) FROM t JOIN XMLTABLE(XMLNAMESPACES('http://d' AS d), '/d:r' PASSING '<r xmlns="http://d"><p>3</p></r>' COLUMNS p int PATH 'd:p' NULL) y ON y.p = t.g
-- query
SELECT t.id, (SELECT max(k) FROM XMLTABLE('/r/p' PASSING t.x COLUMNS k int PATH '@k')) FROM t
-- query
-- answered
SELECT count(*), max(y.k) FROM (SELECT id, x FROM t WHERE g < 2) z, XMLTABLE('/r/p' PASSING z.x COLUMNS k int PATH '@k', i int PATH (SELECT '@k')) y WHERE y.k > z.id
-- query
-- refused: now
SELECT t.id FROM t, XMLTABLE('/r' PASSING '<r><p>now</p></r>' COLUMNS p timestamptz) y WHERE y.p IS NULL
-- query
-- answered
SELECT t.id, y.p FROM t, XMLTABLE('/r' PASSING '<r><p>sad</p></r>' COLUMNS p mood) y
