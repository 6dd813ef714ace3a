SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> array_fill(random()::real, ARRAY[32])::vector LIMIT 10) AS found;
