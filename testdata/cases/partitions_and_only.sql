-- symptom: a partition was of no table of the topology, and FROM ONLY was refused where nothing inherits
-- shard: event=id plain=id
-- setup
CREATE TABLE event (id int NOT NULL, year int NOT NULL, n numeric(6,2), note text, PRIMARY KEY (id, year)) PARTITION BY LIST (year);
CREATE TABLE event_2023 PARTITION OF event FOR VALUES IN (2023);
CREATE TABLE event_rest PARTITION OF event DEFAULT PARTITION BY RANGE (year);
CREATE TABLE event_2024 PARTITION OF event_rest FOR VALUES FROM (2024) TO (2025);
CREATE TABLE event_2025 (note text, year int NOT NULL, id int NOT NULL, n numeric(6,2));
ALTER TABLE event_rest ATTACH PARTITION event_2025 FOR VALUES FROM (2025) TO (2026);
INSERT INTO event SELECT i, 2023 + i % 3, i / 4.0, 'note ' || i % 7 FROM generate_series(1, 120) i;
CREATE TABLE plain (id int NOT NULL, g int);
INSERT INTO plain SELECT i, i % 5 FROM generate_series(1, 90) i;
CREATE TABLE copy (g int PRIMARY KEY, name text, kind text NOT NULL DEFAULT 'a');
INSERT INTO copy SELECT i, 'copy ' || i FROM generate_series(0, 9) i;
CREATE TABLE heir () INHERITS (copy);
CREATE MATERIALIZED VIEW summary AS SELECT g, count(*) AS n FROM copy GROUP BY g;
CREATE VIEW last_year AS SELECT id, n FROM ONLY event_2025 WHERE n > 3;
-- query
-- answered
SELECT id, n, note FROM event_2023 WHERE id < 40 ORDER BY id
-- query
-- answered
SELECT count(*), sum(n), count(DISTINCT note) FROM event_2024
-- query
-- answered
SELECT year, count(*) FROM event_rest GROUP BY year ORDER BY year
-- query
-- answered
SELECT * FROM event_2025 ORDER BY id
-- query
-- answered
SELECT e.id, p.g FROM event_2025 e JOIN plain p ON p.id = e.id ORDER BY e.id
-- query
-- answered
SELECT e.id, f.year FROM event_2025 e JOIN event f USING (id) ORDER BY e.id
-- query
-- answered
SELECT id FROM ONLY event_2023 ORDER BY id DESC LIMIT 3
-- query
-- answered
SELECT count(*), sum(n) FROM last_year
-- query
-- answered
SELECT p.g, count(*) FROM ONLY plain p JOIN ONLY event_2024 e ON e.id = p.id GROUP BY p.g ORDER BY 1
-- query
-- refused: FROM ONLY
SELECT count(*) FROM ONLY event
-- query
-- refused: FROM ONLY
SELECT count(*) FROM ONLY event_rest
-- query
-- refused: FROM ONLY
SELECT g FROM ONLY copy
-- query
-- answered
SELECT g, name FROM copy ORDER BY g
-- query
-- refused: FROM ONLY
WITH plain AS (SELECT 1 AS id) SELECT id FROM ONLY plain
-- query
-- answered
SELECT p.id, s.n FROM plain p JOIN summary s ON s.g = p.g ORDER BY p.id
