-- Drops the feature views and groups whose tables are in a schema; their histories stay, to go with it.
CREATE FUNCTION drop_features(room regnamespace) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	reference text;
BEGIN
	FOR reference IN SELECT format('%s@%s', name, version) FROM lean.feature_view AS v JOIN pg_class AS c ON c.oid = v.served
		WHERE relnamespace = room LOOP
		PERFORM lean.drop_feature_view(reference);
	END LOOP;
	FOR reference IN SELECT format('%s@%s', name, version) FROM lean.feature_group AS g JOIN pg_class AS c ON c.oid = g.history
		WHERE relnamespace = room LOOP
		PERFORM lean.drop_feature_group(reference);
	END LOOP;
END
$$;
