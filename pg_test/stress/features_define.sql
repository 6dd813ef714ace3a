\set number random(1, 1000000000)
SELECT lean.add_feature('load', format('["more_%s", "int", 7]', :number)::jsonb);
