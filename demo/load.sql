-- Loads the glosses. The file holds half precision to be small; the table holds plain vectors.
-- The shell that runs this sends demo/glosses.copy.gz, unpacked, on standard input.
CREATE EXTENSION leanstack;
CREATE TABLE glosses (
    id int PRIMARY KEY,
    words text NOT NULL,
    gloss text NOT NULL,
    embedding vector(384) NOT NULL,
    keywords tsvector GENERATED ALWAYS AS (to_tsvector('english', words || ' ' || gloss)) STORED
);
CREATE TEMP TABLE arrived (id int, words text, gloss text, embedding halfvec(384));
\copy arrived FROM pstdin (FORMAT binary)
INSERT INTO glosses SELECT id, words, gloss, embedding::vector FROM arrived;
CREATE INDEX ON glosses USING gin (keywords);
VACUUM ANALYZE glosses;
