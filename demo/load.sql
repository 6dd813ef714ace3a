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
-- The embedding of the gloss whose first word this is: it stands for a model that embeds the question.
CREATE FUNCTION meaning(word text) RETURNS vector STABLE PARALLEL SAFE LANGUAGE sql AS
    $$ SELECT embedding FROM glosses WHERE split_part(words, ';', 1) = word ORDER BY id LIMIT 1 $$;
CREATE INDEX ON glosses (split_part(words, ';', 1));
CREATE INDEX ON glosses USING gin (keywords);
VACUUM ANALYZE glosses;
