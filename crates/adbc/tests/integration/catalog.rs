//! What a connection tells of the driver and of the shards' tables.

use std::collections::HashSet;

use adbc_core::Connection as _;
use adbc_core::error::Status;
use adbc_core::options::{InfoCode, ObjectDepth};
use adbc_core::schemas::{GET_INFO_SCHEMA, GET_OBJECTS_SCHEMA};
use merganser::arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchReader, UnionArray,
};
use merganser::arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type, UInt32Type};

use crate::{Scene, error, support};

/// Two tables of the topology in two schemas, a view, and a table that it does not know.
fn scene() -> Option<Scene> {
    let urls = support::shards(2)?;
    for url in &urls {
        support::execute(
            url,
            "create schema sales;
             create table sales.\"Order\" (id int8 primary key, price numeric(8,2) not null, tags text[]);
             create table nation (id int primary key, name varchar(20));
             create table undeclared (a int);
             create view sales.totals as select sum(price) as total from sales.\"Order\";",
        );
    }
    let tables = "[[table]]\nname = 'sales.\"Order\"'\nshard_key = \"id\"\n\
        [[table]]\nname = \"nation\"\nreplicated = true\n";
    Some(Scene::new(urls, tables))
}

/// The one batch of a reader, which has this schema.
fn only(reader: impl RecordBatchReader) -> RecordBatch {
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1);
    batches[0].clone()
}

/// What is asked for of the catalog.
#[derive(Default)]
struct Asked<'a> {
    catalog: Option<&'a str>,
    schema: Option<&'a str>,
    table: Option<&'a str>,
    types: Option<Vec<&'a str>>,
    column: Option<&'a str>,
}

/// The objects as lines: `schema`, `schema.table type`, `schema.table.column`; a `?` is a list that is
/// NULL.
fn objects(scene: &Scene, depth: ObjectDepth, asked: Asked<'_>) -> Vec<String> {
    let reader = scene.connection.get_objects(
        depth,
        asked.catalog,
        asked.schema,
        asked.table,
        asked.types,
        asked.column,
    );
    let batch = only(reader.unwrap());
    assert_eq!(batch.schema(), *GET_OBJECTS_SCHEMA);
    let mut lines = Vec::new();
    for row in 0..batch.num_rows() {
        assert!(batch.column(0).is_null(row), "the catalog has no name");
        let Some(schemas) = items(batch.column(1), row) else {
            lines.push("?".to_owned());
            continue;
        };
        for schema in 0..schemas.len() {
            let name = text(&schemas, "db_schema_name", schema);
            lines.push(name.clone());
            let Some(tables) = items(&column(&schemas, "db_schema_tables"), schema) else {
                lines.push(format!("{name}.?"));
                continue;
            };
            for table in 0..tables.len() {
                let full = format!("{name}.{}", text(&tables, "table_name", table));
                lines.push(format!("{full} {}", text(&tables, "table_type", table)));
                assert!(column(&tables, "table_constraints").is_null(table));
                let Some(columns) = items(&column(&tables, "table_columns"), table) else {
                    lines.push(format!("{full}.?"));
                    continue;
                };
                for at in 0..columns.len() {
                    let position = column(&columns, "ordinal_position");
                    let nullable = column(&columns, "xdbc_nullable");
                    lines.push(format!(
                        "{full}.{} {} {} {} {}",
                        text(&columns, "column_name", at),
                        position.as_primitive::<Int32Type>().value(at),
                        text(&columns, "xdbc_type_name", at),
                        nullable.as_primitive::<Int16Type>().value(at),
                        text(&columns, "xdbc_is_nullable", at),
                    ));
                }
            }
        }
    }
    lines
}

fn items(lists: &ArrayRef, row: usize) -> Option<ArrayRef> {
    let lists = lists.as_list::<i32>();
    (!lists.is_null(row)).then(|| lists.value(row))
}

fn column(structs: &ArrayRef, name: &str) -> ArrayRef {
    structs.as_struct().column_by_name(name).unwrap().clone()
}

fn text(structs: &ArrayRef, name: &str, row: usize) -> String {
    column(structs, name)
        .as_string::<i32>()
        .value(row)
        .to_owned()
}

#[test]
fn objects_are_told_to_the_depth_that_is_asked_for() {
    let Some(scene) = scene() else { return };
    let all = |depth| objects(&scene, depth, Asked::default());
    assert_eq!(all(ObjectDepth::Catalogs), ["?"]);
    assert_eq!(
        all(ObjectDepth::Schemas),
        ["public", "public.?", "sales", "sales.?"]
    );
    assert_eq!(
        all(ObjectDepth::Tables),
        [
            "public",
            "public.nation table",
            "public.nation.?",
            "sales",
            "sales.Order table",
            "sales.Order.?",
            "sales.totals view",
            "sales.totals.?",
        ]
    );
    let columns = [
        "public",
        "public.nation table",
        "public.nation.id 1 integer 0 NO",
        "public.nation.name 2 character varying(20) 1 YES",
        "sales",
        "sales.Order table",
        "sales.Order.id 1 bigint 0 NO",
        "sales.Order.price 2 numeric(8,2) 0 NO",
        "sales.Order.tags 3 text[] 1 YES",
        "sales.totals view",
        "sales.totals.total 1 numeric 1 YES",
    ];
    assert_eq!(all(ObjectDepth::All), columns);
}

#[test]
fn objects_are_filtered_by_patterns() {
    let Some(scene) = scene() else { return };
    let tables = |asked| objects(&scene, ObjectDepth::Tables, asked);
    let nothing: [&str; 0] = [];
    let schema = |schema| Asked {
        schema: Some(schema),
        ..Asked::default()
    };
    assert_eq!(
        tables(schema("pub%")),
        ["public", "public.nation table", "public.nation.?"]
    );
    assert_eq!(tables(schema("Public")), nothing);
    assert_eq!(tables(schema("")), nothing);
    let catalog = |catalog| Asked {
        catalog: Some(catalog),
        schema: Some("public"),
        ..Asked::default()
    };
    assert_eq!(tables(catalog("")).len(), 3);
    assert_eq!(tables(catalog("%")).len(), 3);
    assert_eq!(tables(catalog("postgres")), nothing);
    // A schema stays, whatever of its tables is asked for.
    let table = Asked {
        table: Some("_rder"),
        ..Asked::default()
    };
    assert_eq!(
        tables(table),
        ["public", "sales", "sales.Order table", "sales.Order.?"]
    );
    let types = Asked {
        types: Some(vec!["view", "materialized view"]),
        ..Asked::default()
    };
    assert_eq!(
        tables(types),
        ["public", "sales", "sales.totals view", "sales.totals.?"]
    );
    let column = Asked {
        schema: Some("sales"),
        column: Some("t%"),
        ..Asked::default()
    };
    assert_eq!(
        objects(&scene, ObjectDepth::Columns, column),
        [
            "sales",
            "sales.Order table",
            "sales.Order.tags 3 text[] 1 YES",
            "sales.totals view",
            "sales.totals.total 1 numeric 1 YES"
        ]
    );
}

#[test]
fn objects_show_what_was_made_since() {
    let Some(scene) = scene() else { return };
    let count = || objects(&scene, ObjectDepth::Tables, Asked::default()).len();
    let before = count();
    for url in &scene.urls {
        support::execute(url, "create view late as select 1 as one");
    }
    assert_eq!(count(), before + 2);
}

#[test]
fn a_table_has_the_schema_of_its_rows() {
    let Some(scene) = scene() else { return };
    let schema = |catalog, schema, table| scene.connection.get_table_schema(catalog, schema, table);
    let order = schema(None, Some("sales"), "Order").unwrap();
    assert_eq!(order.fields().len(), 3);
    assert_eq!(order.field(1).data_type(), &DataType::Decimal128(8, 2));
    assert_eq!(
        schema(Some(""), None, "nation").unwrap().field(1).name(),
        "name"
    );
    assert_eq!(
        schema(None, Some("sales"), "totals")
            .unwrap()
            .field(0)
            .name(),
        "total"
    );
    let missing = error(schema(None, Some("sales"), "order"));
    assert_eq!(missing.status, Status::NotFound, "{missing}");
    assert_eq!(missing.sqlstate.map(|c| c as u8), *b"42P01");
    assert_eq!(
        error(schema(Some("x"), None, "nation")).status,
        Status::NotFound
    );
}

#[test]
fn info_names_the_driver_and_the_servers() {
    let Some(scene) = scene() else { return };
    let batch = only(scene.connection.get_info(None).unwrap());
    assert_eq!(batch.schema(), *GET_INFO_SCHEMA);
    let codes = batch.column(0).as_primitive::<UInt32Type>();
    let values: &UnionArray = batch.column(1).as_any().downcast_ref().unwrap();
    let value = |code: InfoCode| {
        let code = u32::from(&code);
        let row = codes.values().iter().position(|other| *other == code)?;
        Some(values.value(row))
    };
    let text = |code| value(code).unwrap().as_string::<i32>().value(0).to_owned();
    assert_eq!(text(InfoCode::VendorName), "PostgreSQL");
    let version = support::server()
        .unwrap()
        .query("postgres", "show server_version");
    let version = version.unwrap()[0][0].clone().unwrap();
    assert_eq!(text(InfoCode::VendorVersion), version);
    assert_eq!(text(InfoCode::DriverName), "ADBC Merganser Driver");
    assert_eq!(text(InfoCode::DriverVersion), env!("CARGO_PKG_VERSION"));
    assert!(text(InfoCode::DriverArrowVersion).starts_with("59."));
    assert!(value(InfoCode::VendorSql).unwrap().as_boolean().value(0));
    assert!(
        !value(InfoCode::VendorSubstrait)
            .unwrap()
            .as_boolean()
            .value(0)
    );
    let adbc = value(InfoCode::DriverAdbcVersion).unwrap();
    assert_eq!(adbc.as_primitive::<Int64Type>().value(0), 1_001_000);
    assert!(value(InfoCode::VendorSubstraitMinVersion).is_none());

    let asked: HashSet<_> = [InfoCode::DriverName, InfoCode::Other(54_321)].into();
    let batch = only(scene.connection.get_info(Some(asked)).unwrap());
    assert_eq!(batch.num_rows(), 1);
}

#[test]
fn table_types_are_those_of_objects() {
    let Some(scene) = scene() else { return };
    let types = only(scene.connection.get_table_types().unwrap());
    let types: Vec<_> = types
        .column(0)
        .as_string::<i32>()
        .iter()
        .flatten()
        .collect();
    assert_eq!(types, ["table", "view"]);
    let names = scene.connection.get_statistic_names().unwrap();
    assert_eq!(
        names.map(|batch| batch.unwrap().num_rows()).sum::<usize>(),
        0
    );
    let statistics = scene.connection.get_statistics(None, None, None, true);
    assert_eq!(error(statistics.map(|_| ())).status, Status::NotImplemented);
}
