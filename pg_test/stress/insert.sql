INSERT INTO items (v) SELECT some_vector() FROM generate_series(1, 5);
