-- symptom: row filters of a distributed table have to be set up, and are applied, on each node (here: one that reads a sharded table)
-- shard: notes=id members=user_name
-- user: case_reader
-- setup
DO $$ BEGIN CREATE ROLE case_reader LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
CREATE TABLE notes (id int PRIMARY KEY, team int, body text);
CREATE TABLE members (user_name text NOT NULL, team int NOT NULL);
CREATE TABLE plain (id int);
INSERT INTO notes SELECT i, i % 5, 'n' || i FROM generate_series(1, 50) i;
INSERT INTO members SELECT u, t FROM unnest(ARRAY['case_reader', 'ann', 'bob']) u, generate_series(0, 4) t WHERE (length(u) + t) % 3 = 0;
INSERT INTO plain VALUES (1);
GRANT SELECT ON notes, members, plain TO case_reader;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON notes USING (EXISTS (SELECT FROM members m WHERE m.user_name = current_user AND m.team = notes.team));
-- query
SELECT count(*) FROM notes
-- query
SELECT p.id, count(n.id) FROM plain p LEFT JOIN notes n ON n.team > p.id GROUP BY p.id
