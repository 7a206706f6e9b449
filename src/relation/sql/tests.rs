use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatchOptions, StringArray};
use futures::StreamExt;

use super::*;
use crate::cluster::Cluster;
use crate::config::Topology;
use crate::connect::{Flow, Session};
use crate::error::ErrorKind;
use crate::progress::ScanProgress;
use crate::scan::{self, BatchOptions, Reading};
use crate::statement::Statement;
use crate::types::Unrepresentable;
use merganser_local::{Binaries, Server};

#[allow(dead_code)]
mod type_values {
    include!("../../../tests/integration/type_values.rs");
}

fn columns(names: &[&str]) -> Vec<StepColumn> {
    let column = |name: &&str| StepColumn {
        name: (*name).to_owned(),
        collation: None,
    };
    names.iter().map(column).collect()
}

fn sql_of(relation: &StepRelation) -> String {
    let mut sql = String::new();
    relation.write_sql(true, &mut sql);
    sql
}

#[test]
fn values_are_quoted_for_the_array_and_for_the_literal() {
    let names = columns(&["a b", "n"]);
    let types = vec![SqlType::builtin("text"), SqlType::builtin("int8")];
    let mut builder = StepRelationBuilder::try_new("m1", &names, types).unwrap();
    let texts = StringArray::from(vec![Some("it's \"\\ {,}"), None, Some("NULL"), Some("")]);
    let numbers = Int64Array::from(vec![Some(-1), Some(i64::MAX), None, Some(0)]);
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("x", Arc::new(texts) as ArrayRef, true),
        ("y", Arc::new(numbers) as ArrayRef, true),
    ])
    .unwrap();
    let bytes = builder.push(&batch).unwrap();
    let relation = builder.finish();
    assert_eq!(
        sql_of(&relation),
        r#""m1"("a b", "n") AS (SELECT r.c1::text, r.c2::int8 FROM (SELECT "#.to_owned()
            + r#"pg_catalog.unnest(E'{"it''s \\"\\\\ {,}",NULL,"NULL",""}'::text[]) AS c1, "#
            + r#"pg_catalog.unnest(E'{-1,9223372036854775807,NULL,0}'::int8[]) AS c2) AS r)"#
    );
    let written: usize = relation
        .columns
        .iter()
        .map(|column| column.values.len())
        .sum();
    assert_eq!(bytes, written as u64);
    let mut empty = String::new();
    relation.write_sql(false, &mut empty);
    assert!(empty.contains("unnest(E'{}'::text[]) AS c1"));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let record = SqlType {
        pseudo: true,
        ..SqlType::builtin("record")
    };
    let error = StepRelationBuilder::try_new("m1", &columns(&["r"]), vec![record]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error
            .message()
            .contains("column \"r\" of relation m1 has type record")
    );
    let error = StepRelationBuilder::try_new("m1", &columns(&["r"]), vec![]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

#[test]
fn sums_get_the_type_that_they_need() {
    let fields = |types: [DataType; 3]| {
        let fields = types.map(|data_type| Field::new("c", data_type, true));
        Schema::new(fields.to_vec())
    };
    let before = fields([DataType::Int32, DataType::Decimal128(15, 2), DataType::Utf8]);
    let after = fields([DataType::Int64, DataType::Decimal128(25, 2), DataType::Utf8]);
    let types = vec![
        SqlType::builtin("int4"),
        SqlType::builtin("numeric(15,2)"),
        SqlType::builtin("date"),
    ];
    let names = |types: Result<Vec<SqlType>>| -> Vec<String> {
        types.unwrap().into_iter().map(|found| found.name).collect()
    };
    assert_eq!(
        names(aggregated_types(&before, types.clone(), &after)),
        ["int8", "numeric", "date"]
    );
    assert_eq!(
        names(aggregated_types(&before, types.clone(), &before)),
        ["int4", "numeric(15,2)", "date"]
    );
    assert!(
        aggregated_types(
            &after,
            types,
            &fields([DataType::Utf8, DataType::Utf8, DataType::Utf8])
        )
        .is_err()
    );
}

#[test]
fn a_char_is_a_byte() {
    for (text, byte) in [
        ("", 0),
        ("a", 97),
        ("\\", 92),
        ("\\377", -1),
        ("\\200", -128),
    ] {
        assert_eq!(byte_of(text).unwrap(), byte, "{text:?}");
    }
    for text in ["ab", "é", "\\999"] {
        assert!(byte_of(text).is_err(), "{text:?}");
    }
}

/// A server with one database of all types; `None` without PostgreSQL.
fn server() -> Option<&'static (Server, String)> {
    static SERVER: OnceLock<Option<(Server, String)>> = OnceLock::new();
    let start = || {
        Binaries::find().ok()?;
        let server = Server::builder().start().unwrap();
        let url = server.create_database("zoo").unwrap();
        server.execute("zoo", type_values::SCHEMA).unwrap();
        Some((server, url))
    };
    SERVER.get_or_init(start).as_ref()
}

async fn session() -> Option<(Cluster, Session)> {
    let (_, url) = server()?;
    let cluster = Cluster::new(Topology::from_urls([url.clone()]).unwrap()).unwrap();
    let session = cluster.session(0).await.unwrap();
    Some((cluster, session))
}

/// The rows of a query, in the way in which the rows of a step are read; with their types.
async fn read(cluster: &Cluster, sql: &str) -> Result<(Vec<SqlType>, Vec<RecordBatch>)> {
    let mut session = cluster.session(0).await?;
    let statement = Statement::parse(sql)?;
    let reading = Reading::Options(Reading::LOSSLESS);
    let description = scan::describe(
        &mut session,
        &statement,
        crate::error::SqlOrigin::Made,
        reading,
    )
    .await?;
    let types = scan::sql_types(&mut session, &description).await?;
    let copy = scan::copy_sql(&statement, &description, &[])?;
    let options = BatchOptions {
        rows: 1000,
        bytes: 1 << 20,
        flow: Flow::default(),
        longest_row: 1 << 30,
        unrepresentable: Unrepresentable::Text,
        decoded: true,
    };
    let counters = ScanProgress::new().begin(["s0"]).remove(0);
    let mut rows = scan::rows(
        session,
        copy,
        description.columns,
        &options,
        counters,
        None,
        None,
    );
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await {
        batches.push(batch?);
    }
    Ok((types, batches))
}

/// The relation of one column of what was read.
fn relation(index: usize, types: &[SqlType], batches: &[RecordBatch]) -> Result<StepRelation> {
    let types = vec![types[index].clone()];
    let mut builder = StepRelationBuilder::try_new("m1", &columns(&["c"]), types)?;
    for batch in batches {
        builder.push(&batch.project(&[index]).unwrap())?;
    }
    Ok(builder.finish())
}

/// What differs between a relation and the same column of a query, which has a column `n` too.
async fn differences(
    session: &mut Session,
    relation: &StepRelation,
    sql_type: &SqlType,
    original: &str,
) -> Vec<String> {
    let with = sql_of(relation);
    let check = format!(
        "WITH {with} SELECT m.n, \
           pg_catalog.format('%s', m.c) IS NOT DISTINCT FROM pg_catalog.format('%s', o.c), \
           record_image_eq(ROW(m.c), ROW(o.c)), pg_typeof(m.c) = pg_typeof(o.c), \
           pg_catalog.format('%s', m.c), pg_catalog.format('%s', o.c), pg_typeof(m.c)::text \
         FROM (SELECT c, row_number() OVER () AS n FROM m1) m FULL JOIN ({original}) o \
           ON m.n = o.n"
    );
    let mut found = Vec::new();
    match session.query(&check).await {
        Ok(rows) => {
            for row in rows {
                if row[0].is_none() || row[1..4].iter().any(|same| same.as_deref() != Some("t")) {
                    found.push(format!("{row:?}"));
                }
            }
        }
        Err(error) => found.push(error.to_string()),
    }
    let statement = Statement::parse(&format!("WITH {with} SELECT c FROM m1")).unwrap();
    let reading = Reading::Options(Reading::LOSSLESS);
    match scan::describe(session, &statement, crate::error::SqlOrigin::Made, reading).await {
        Ok(description) => {
            let types = scan::sql_types(session, &description).await.unwrap();
            let expected = SqlType {
                domain: None,
                ..sql_type.clone()
            };
            if types != [expected] {
                found.push(format!("{types:?} instead of {sql_type:?}"));
            }
        }
        Err(error) => found.push(error.to_string()),
    }
    found
}

#[tokio::test]
async fn values_of_every_type_come_back_the_same() {
    let Some((cluster, _)) = session().await else {
        return;
    };
    let unfit = type_values::UNFIT.iter().map(|unfit| unfit.0);
    let expressions: Vec<_> = type_values::SAME
        .iter()
        .chain(type_values::SCALED)
        .copied()
        .chain(unfit)
        .collect();
    let mut wrong = Vec::new();
    for part in expressions.chunks(100) {
        let selected: Vec<_> = part
            .iter()
            .map(|expression| format!("(SELECT {expression} WHERE n = 1)"))
            .collect();
        let sql = format!(
            "SELECT {} FROM generate_series(1, 2) n",
            selected.join(", ")
        );
        let (types, batches) = read(&cluster, &sql).await.unwrap();
        for (index, expression) in part.iter().enumerate() {
            let relation = match relation(index, &types, &batches) {
                Ok(relation) => relation,
                // Of types without a name, without values, or with values whose text does not tell all.
                Err(error)
                    if error.kind() == ErrorKind::Unsupported
                        && (types[index].holds_xml
                            || ["record", "void", "record[]"]
                                .contains(&types[index].name.as_str())) =>
                {
                    continue;
                }
                Err(error) => panic!("{expression}: {error}"),
            };
            // A session for each, as an error ends its transaction.
            let mut session = cluster.session(0).await.unwrap();
            // Of an expression the protocol tells only the base type of a domain.
            let is_domain = format!(
                "SELECT typtype = 'd' FROM pg_type WHERE oid = pg_catalog.pg_typeof({expression})"
            );
            let cast = match session.query(&is_domain).await.unwrap()[0][0].as_deref() {
                Some("t") => format!("::{}", types[index].name),
                _ => String::new(),
            };
            let original = format!(
                "SELECT (SELECT ({expression}){cast} WHERE n = 1) AS c, n \
                 FROM generate_series(1, 2) n"
            );
            let found = differences(&mut session, &relation, &types[index], &original).await;
            wrong.extend(
                found
                    .into_iter()
                    .map(|text| format!("{expression}: {text}")),
            );
            session.finish().await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn columns_of_tables_keep_modifiers_and_domains() {
    let Some((cluster, mut session)) = session().await else {
        return;
    };
    let names = "flat, grid, cube, price, code, label, flags, small, smalls";
    let (types, batches) = read(
        &cluster,
        &format!("SELECT {names} FROM cells ORDER BY ctid"),
    )
    .await
    .unwrap();
    for (index, name) in names.split(", ").enumerate() {
        let relation = relation(index, &types, &batches).unwrap();
        let original =
            format!("SELECT {name} AS c, row_number() OVER (ORDER BY ctid) n FROM cells");
        let found = differences(&mut session, &relation, &types[index], &original).await;
        assert!(found.is_empty(), "{name}: {found:?}");
    }
    let named: Vec<_> = types.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(
        named,
        [
            "integer[]",
            "integer[]",
            "numeric(4,1)[]",
            "numeric(15,2)",
            "character(5)",
            "character varying(3)",
            "bit(3)",
            "numeric(10,2)",
            "public.small_amount[]"
        ]
    );
    assert_eq!(types[7].domain.as_deref(), Some("public.small_amount"));
}

#[tokio::test]
async fn hashed_values_come_back_the_same() {
    let Some((cluster, mut session)) = session().await else {
        return;
    };
    let sql = format!(
        "SELECT {} {}",
        type_values::MANY.join(", "),
        type_values::MANY_FROM
    );
    let (types, batches) = read(&cluster, &sql).await.unwrap();
    for (index, expression) in type_values::MANY.iter().enumerate() {
        if types[index].pseudo {
            continue;
        }
        let relation = relation(index, &types, &batches).unwrap();
        let original = format!(
            "SELECT {expression} AS c, row_number() OVER () AS n {}",
            type_values::MANY_FROM
        );
        let found = differences(&mut session, &relation, &types[index], &original).await;
        assert!(
            found.is_empty(),
            "{expression}: {} {:?}",
            found.len(),
            found.first()
        );
    }
}

#[tokio::test]
async fn types_outside_the_search_path_are_found_and_collations_kept() {
    let Some((server, url)) = server() else {
        return;
    };
    server
        .execute(
            "zoo",
            "CREATE SCHEMA IF NOT EXISTS \"Far 'off\"; \
             DROP TYPE IF EXISTS \"Far 'off\".\"M\"; \
             CREATE TYPE \"Far 'off\".\"M\" AS ENUM ('b', 'a')",
        )
        .unwrap();
    let cluster = Cluster::new(Topology::from_urls([url.clone()]).unwrap()).unwrap();
    let sql = "SELECT 'a'::\"Far 'off\".\"M\", ARRAY['b']::\"Far 'off\".\"M\"[], 'x'::char(3), \
               'ä'::text FROM generate_series(1, 2)";
    let (types, batches) = read(&cluster, sql).await.unwrap();
    assert_eq!(types[0].name, "\"Far 'off\".\"M\"");
    assert_eq!(types[1].name, "\"Far 'off\".\"M\"[]");
    let mut names = columns(&["e", "l", "f", "t"]);
    names[3].collation = Some("pg_catalog.\"C\"".to_owned());
    let mut builder = StepRelationBuilder::try_new("m1", &names, types).unwrap();
    for batch in &batches {
        builder.push(batch).unwrap();
    }
    let mut session = cluster.session(0).await.unwrap();
    let sql = format!(
        "WITH {} SELECT count(*), min(e::text), min(l::text), min(pg_collation_for(t)), \
         min(octet_length(f)) FROM m1",
        sql_of(&builder.finish())
    );
    let row = session.query(&sql).await.unwrap().remove(0);
    let row: Vec<_> = row.iter().map(|value| value.as_deref().unwrap()).collect();
    assert_eq!(row, ["2", "a", "{b}", "\"C\"", "3"]);
}

#[tokio::test]
async fn a_domain_that_allows_no_null_keeps_those_of_an_outer_join() {
    let Some((server, url)) = server() else {
        return;
    };
    server
        .execute(
            "zoo",
            "CREATE DOMAIN filled AS pair CHECK (value IS NOT NULL) NOT NULL; \
             CREATE TABLE filled_in (n int, f filled); INSERT INTO filled_in VALUES (1, '(1,a)')",
        )
        .unwrap();
    let cluster = Cluster::new(Topology::from_urls([url.clone()]).unwrap()).unwrap();
    let sql = "SELECT f FROM generate_series(1, 2) g LEFT JOIN filled_in ON n = g ORDER BY g";
    let (types, batches) = read(&cluster, sql).await.unwrap();
    let relation = relation(0, &types, &batches).unwrap();
    let mut session = cluster.session(0).await.unwrap();
    let sql = format!("WITH {} SELECT c, pg_typeof(c) FROM m1", sql_of(&relation));
    let rows = session.query(&sql).await.unwrap();
    let filled = Some("filled".to_owned());
    assert_eq!(
        rows,
        [[Some("(1,a)".to_owned()), filled.clone()], [None, filled]]
    );
}

#[tokio::test]
async fn relations_have_any_number_of_rows_and_columns() {
    let Some((_, mut session)) = session().await else {
        return;
    };
    // Rows without columns.
    let mut builder = StepRelationBuilder::try_new("m1", &[], vec![]).unwrap();
    let options = RecordBatchOptions::new().with_row_count(Some(3));
    let three =
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    builder.push(&three).unwrap();
    let sql = format!("WITH {} SELECT count(*) FROM m1", sql_of(&builder.finish()));
    assert_eq!(session.query(&sql).await.unwrap(), [[Some("3".to_owned())]]);

    // Columns without rows.
    let names: Vec<_> = (0..1000).map(|index| format!("c{index}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let types = vec![SqlType::builtin("int8"); 1000];
    let builder = StepRelationBuilder::try_new("m1", &columns(&names), types).unwrap();
    let sql = format!(
        "WITH {} SELECT count(c999) FROM m1",
        sql_of(&builder.finish())
    );
    assert_eq!(session.query(&sql).await.unwrap(), [[Some("0".to_owned())]]);

    // Many rows.
    let types = vec![SqlType::builtin("int8"), SqlType::builtin("text")];
    let mut builder = StepRelationBuilder::try_new("m1", &columns(&["n", "t"]), types).unwrap();
    let started = Instant::now();
    for start in (0..1_000_000).step_by(10_000) {
        let numbers: Int64Array = (start..start + 10_000).map(Some).collect();
        let texts: StringArray = numbers
            .iter()
            .map(|n| n.map(|n| format!("row {n}")))
            .collect();
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(numbers) as ArrayRef),
            ("t", Arc::new(texts) as ArrayRef),
        ])
        .unwrap();
        builder.push(&batch).unwrap();
    }
    let sql = format!(
        "WITH {} SELECT count(*), sum(n), count(*) FILTER (WHERE t = 'row ' || n) FROM m1",
        sql_of(&builder.finish())
    );
    let rows = session.query(&sql).await.unwrap();
    let expected = ["1000000", "499999500000", "1000000"];
    assert_eq!(rows, [expected.map(|text| Some(text.to_owned()))]);
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}
