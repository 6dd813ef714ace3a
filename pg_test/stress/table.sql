-- The table of the stress suite; :rows rows to begin with. The clusters overlap, so that a sound graph is
-- connected, and a scan that is asked for everything finds everything. Forty dimensions are enough for ivf to code them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS leanstack;
-- A text of up to six hundred words, some much more frequent than others, so that a few dozen rows fill the write buffer of
-- bm25 and some need more than a page of it; now and then a null or an empty one.
CREATE FUNCTION some_words() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN random() < 0.01 THEN NULL WHEN random() < 0.01 THEN ''
        ELSE 'every ' || (SELECT string_agg('w' || floor(exp(9 * random())), ' ') FROM generate_series(1, (1 + 600 * random())::int)) END
$$;
CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, version int NOT NULL DEFAULT 0, v vector(40),
    words text DEFAULT some_words());

-- 40 clusters that overlap, and now and then a null or a duplicate.
CREATE FUNCTION some_vector() RETURNS vector LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN random() < 0.01 THEN NULL
        WHEN random() < 0.02 THEN array_fill(1::real, ARRAY[40])::vector
        ELSE (SELECT array_agg(0.3 * sin(cluster * place) + random())::real[] FROM generate_series(1, 40) AS place)::vector
        END
    FROM (SELECT floor(random() * 40) AS cluster) AS c
$$;
-- The list that an index of few rows has is one that vacuum splits. They are enough for a codebook of four bits.
INSERT INTO items (v) SELECT some_vector() FROM generate_series(1, 50);
CREATE INDEX items_ivf_rabitq ON items USING ivf (v vector_ip_ops);
CREATE INDEX items_ivf_pq ON items USING ivf (v vector_cosine_ops) WITH (quantization = pq, bits = 4, m = 20);
CREATE INDEX items_ivf_sq8 ON items USING ivf ((l2_normalize(v)::vector(40)) vector_l2_ops) WITH (quantization = sq8);
INSERT INTO items (v) SELECT some_vector() FROM generate_series(51, :rows);
CREATE INDEX items_bm25 ON items USING bm25 (words) WITH (text_config = 'simple');
CREATE INDEX items_ivfflat ON items USING ivfflat ((v::halfvec(40)) halfvec_l2_ops) WITH (lists = 10);
CREATE INDEX items_hnsw_plain ON items USING hnsw (v vector_l2_ops) WITH (m = 8, ef_construction = 32);
CREATE INDEX items_hnsw_half ON items USING hnsw ((v::halfvec(40)) halfvec_cosine_ops) WITH (m = 8, ef_construction = 32);
