\set row random(1, 6000)
DELETE FROM items WHERE id BETWEEN :row AND :row + 3;
