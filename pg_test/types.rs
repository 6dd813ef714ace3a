//! The vector types from inside: SQLSTATEs over a table of types, bytes that are no vectors, values as
//! the index code reads them, and the refusal to share a database with pgvector.

#[pgrx::pg_schema]
mod tests {
    use half::f16;
    use leanstack_core::quantize::Value;
    use pgrx::prelude::*;

    use crate::types::value::{Detoasted, TypeKind, detoast};

    /// Creates `pg_temp.outcome(expression)`, which gives the SQLSTATE of evaluating an expression.
    fn create_outcome() {
        Spi::run(
            "CREATE FUNCTION pg_temp.outcome(expression text) RETURNS text LANGUAGE plpgsql AS $$
            BEGIN
                EXECUTE 'SELECT (' || expression || ')::text';
                RETURN '00000';
            EXCEPTION WHEN OTHERS THEN
                RETURN SQLSTATE;
            END $$",
        )
        .unwrap();
    }

    fn outcome(expression: &str) -> String {
        Spi::get_one_with_args::<String>("SELECT pg_temp.outcome($1)", &[expression.into()])
            .unwrap()
            .unwrap()
    }

    #[pg_test]
    fn errors_have_their_sqlstates() {
        create_outcome();
        for ty in ["vector", "halfvec", "sparsevec"] {
            // The same vectors in the notation of the type.
            let literal = |elements: &str| match ty {
                "sparsevec" => {
                    let elements: Vec<_> = elements.split(',').collect();
                    let sparse: Vec<_> = elements
                        .iter()
                        .enumerate()
                        .map(|(i, x)| format!("{}:{x}", i + 1))
                        .collect();
                    format!("'{{{}}}/{}'::{ty}", sparse.join(","), elements.len())
                }
                _ => format!("'[{elements}]'::{ty}"),
            };
            for (expression, expected) in [
                (literal("1,2"), "00000"),
                (literal("1,x"), "22P02"),
                (format!("'x'::{ty}"), "22P02"),
                (literal("NaN"), "22000"),
                (literal("-inf"), "22000"),
                (literal("1e39"), "22003"),
                (format!("{}::{ty}(2)", literal("1,2,3")), "22000"),
                (format!("NULL::{ty}(0)"), "22023"),
                (format!("NULL::{ty}(1000000001)"), "22023"),
                (format!("NULL::{ty}(1, 2)"), "22023"),
                (format!("l2_distance({}, {})", literal("1,2"), literal("1")), "22000"),
                (format!("{} <=> {}", literal("1,2"), literal("1")), "22000"),
                (format!("ARRAY[1, NULL]::{ty}"), "22004"),
                (format!("ARRAY[[1], [2]]::{ty}"), "22000"),
                (format!("'{{}}'::int[]::{ty}"), "22000"),
                (format!("'{{1e39}}'::numeric[]::{ty}"), "22003"),
            ] {
                assert_eq!(outcome(&expression), expected, "{expression}");
            }
        }
        for (expression, expected) in [
            ("array_fill(1, ARRAY[16001])::vector", "54000"),
            ("array_fill(1, ARRAY[16001])::sparsevec", "54000"),
            ("'{}/16001'::sparsevec::halfvec", "54000"),
            ("'[7e4]'::vector::halfvec", "22003"),
            ("'[3e38]'::vector + '[3e38]'", "22003"),
            ("'[1e-30]'::vector * '[1e-30]'", "22003"),
            ("'{2:1,2:1}/2'::sparsevec", "22000"),
            ("'{0:1}/2'::sparsevec", "22000"),
            ("B'1' <~> B'11'", "22000"),
            ("vector_avg('{}')", "XX000"),
        ] {
            assert_eq!(outcome(expression), expected, "{expression}");
        }
    }

    #[pg_test]
    fn damaged_values_are_errors() {
        create_outcome();
        let types = ["vector", "halfvec", "sparsevec"];
        for ty in types {
            Spi::run(&format!("CREATE CAST (bytea AS {ty}) WITHOUT FUNCTION")).unwrap();
        }
        let mut seed = 42u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) as u8
        };
        let (mut fine, mut damaged) = (0, 0);
        for _ in 0..300 {
            // Small numbers in the places of dimensions, so that some of the values are whole.
            let length = next() % 40;
            let bytes: String = (0..length)
                .map(|i| match i % 4 {
                    0 if i < 8 => format!("{:02x}", next() % 6),
                    _ if i < 8 && next() % 16 != 0 => "00".to_string(),
                    _ => format!("{:02x}", next()),
                })
                .collect();
            for ty in types {
                let value = format!("'\\x{bytes}'::bytea::{ty}");
                for expression in [
                    value.clone(),
                    format!("{ty}_send({value})"),
                    format!("{value} <-> {value}"),
                    format!("{value} = {value}"),
                    format!("l2_normalize({value})"),
                    format!("{value}::halfvec::vector::sparsevec"),
                ] {
                    match outcome(&expression).as_str() {
                        "XX001" => damaged += 1,
                        "00000" => fine += 1,
                        // Elements that no input function would have let in.
                        "22000" | "22003" | "54000" => {}
                        other => panic!("{expression} gives {other}"),
                    }
                }
            }
        }
        assert!(damaged > 1000 && fine > 0, "{damaged} damaged, {fine} fine");
    }

    /// Calls `check` with the value of the first column of a query.
    fn with_value(kind: TypeKind, query: &str, check: impl Fn(&Detoasted)) {
        Spi::connect(|client| {
            let table = client.select(query, Some(1), &[]).unwrap().first();
            let datum = table.get_datum_by_ordinal(1).unwrap().unwrap();
            // SAFETY: the query gives a value of the type that `kind` says, and `table` outlives it.
            #[allow(unsafe_code)]
            let detoasted = unsafe { detoast(kind, datum) };
            check(&detoasted);
        });
    }

    #[pg_test]
    fn values_are_read_in_place_and_detoasted() {
        with_value(TypeKind::Vector, "SELECT '[1,2.5]'::vector", |x| {
            assert!(matches!(x.value(), Ok(Value::F32([1.0, 2.5]))));
        });
        with_value(TypeKind::Halfvec, "SELECT '[1,2.5]'::halfvec", |x| {
            let expected = [f16::from_f32(1.0), f16::from_f32(2.5)];
            assert!(matches!(x.value(), Ok(Value::F16(found)) if found == expected));
        });
        with_value(TypeKind::Sparsevec, "SELECT '{2:1.5}/9'::sparsevec", |x| {
            let value = x.value();
            assert!(matches!(value, Ok(Value::Sparse { dim: 9, indices: [1], values: [1.5] })));
        });
        with_value(TypeKind::Bit, "SELECT B'1000000011'", |x| {
            assert!(matches!(x.value(), Ok(Value::Bits { len: 10, bytes: [0x80, 0xc0] })));
        });
        // Short headers, compression and storage out of line.
        Spi::run("CREATE TABLE stored (v vector)").unwrap();
        for (storage, dims) in [("EXTERNAL", 3), ("EXTENDED", 3000), ("EXTERNAL", 3000)] {
            Spi::run(&format!(
                "TRUNCATE stored; ALTER TABLE stored ALTER v SET STORAGE {storage};
                INSERT INTO stored SELECT array_agg(1)::vector FROM generate_series(1, {dims})",
            ))
            .unwrap();
            with_value(TypeKind::Vector, "SELECT v FROM stored", |x| {
                let Ok(Value::F32(elements)) = x.value() else { panic!("not a vector") };
                assert_eq!(elements, vec![1.0; dims]);
            });
        }
    }

    #[pg_test]
    fn pgvector_in_the_database_is_refused() {
        // What pg_extension says of pgvector, and of the shim that has its name and owns nothing.
        let create = "DO $$ BEGIN CREATE EXTENSION leanstack SCHEMA public; END $$";
        Spi::run("DROP EXTENSION leanstack CASCADE; SET LOCAL allow_system_table_mods = on")
            .unwrap();
        Spi::run(
            "INSERT INTO pg_extension SELECT 99999, 'vector', oid, 'public'::regnamespace, true, '0.8.6'
                FROM pg_authid WHERE rolname = current_user",
        )
        .unwrap();
        Spi::run(create).unwrap();
        Spi::run("DROP EXTENSION leanstack; CREATE TYPE vector AS (x int)").unwrap();
        Spi::run(
            "INSERT INTO pg_depend VALUES
                ('pg_type'::regclass, 'vector'::regtype, 0, 'pg_extension'::regclass, 99999, 0, 'e')",
        )
        .unwrap();
        let refusal = PgTryBuilder::new(|| Spi::run(create).map(|()| None).unwrap())
            .catch_others(|error| match error {
                pg_sys::panic::CaughtError::PostgresError(report) => {
                    Some((report.sql_error_code(), report.message().to_string()))
                }
                error => error.rethrow(),
            })
            .execute();
        let message = "pgvector is installed in this database".to_string();
        assert_eq!(refusal, Some((PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT, message)));
    }
}
