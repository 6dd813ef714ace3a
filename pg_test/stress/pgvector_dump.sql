-- As pg_dump writes a database with pgvector: everything is named in full.
SET statement_timeout = 0;
SET lock_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET client_min_messages = warning;
SET row_security = off;

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;
COMMENT ON EXTENSION vector IS 'vector data type and ivfflat and hnsw access methods';

SET default_table_access_method = heap;
CREATE TABLE public.items (
    id bigint NOT NULL,
    embedding public.vector(3),
    half public.halfvec(3),
    sparse public.sparsevec(5),
    bits bit(3)
);
COPY public.items (id, embedding, half, sparse, bits) FROM stdin;
1	[1,2,3]	[1,2,3]	{1:1,3:2}/5	101
2	[4,5,6]	[4,5,6]	{2:1}/5	010
3	[1,1,1]	\N	\N	\N
\.
ALTER TABLE ONLY public.items ADD CONSTRAINT items_pkey PRIMARY KEY (id);
CREATE INDEX items_embedding_idx ON public.items USING hnsw (embedding public.vector_l2_ops) WITH (m='16', ef_construction='64');
CREATE INDEX items_embedding_flat ON public.items USING ivfflat (embedding public.vector_ip_ops) WITH (lists='1');
CREATE INDEX items_half_idx ON public.items USING hnsw (half public.halfvec_cosine_ops);
CREATE INDEX items_bits_idx ON public.items USING hnsw (bits public.bit_hamming_ops);
SET search_path = public;
