\set row random(1, 6000)
UPDATE items SET version = version + 1, v = some_vector(), words = some_words() WHERE id BETWEEN :row AND :row + 1;
