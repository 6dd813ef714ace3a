SELECT count(*) FROM (SELECT id FROM items ORDER BY words <@> ('every w' || floor(exp(9 * random())) || ' w' || floor(exp(5 * random()))) LIMIT 30) AS found;
SELECT count(*) FROM (SELECT id FROM items ORDER BY v <-> array_fill(random()::real, ARRAY[40])::vector LIMIT 10) AS found;
SELECT count(*) FROM (SELECT id FROM items ORDER BY v <#> array_fill(random()::real, ARRAY[40])::vector LIMIT 10) AS found;
SELECT count(*) FROM (SELECT id FROM items ORDER BY v <=> array_fill(random()::real, ARRAY[40])::vector LIMIT 10) AS found;
SELECT count(*) FROM (SELECT id FROM items ORDER BY l2_normalize(v)::vector(40) <-> array_fill(random()::real, ARRAY[40])::vector LIMIT 10) AS found;
SELECT count(*) FROM (SELECT id FROM items ORDER BY v::halfvec(40) <-> array_fill(random()::real, ARRAY[40])::halfvec(40) LIMIT 10) AS found;
