//! Decoding as a whole: any chunking, any batch size, damage at any place.

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type};
use proptest::prelude::*;

use tokio_postgres::types::{Field, Kind, Type};

use super::*;
use crate::text::TextFormatter;
use crate::types::{NumericAs, PgType, TextAs, TypeModifiers, TypeOptions};

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// COPY BINARY data of these rows.
fn copy_data(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
    let mut data = HEADER.to_vec();
    for row in rows {
        data.extend((row.len() as i16).to_be_bytes());
        for field in row {
            match field {
                None => data.extend((-1_i32).to_be_bytes()),
                Some(bytes) => {
                    data.extend((bytes.len() as i32).to_be_bytes());
                    data.extend(bytes);
                }
            }
        }
    }
    data.extend((-1_i16).to_be_bytes());
    data
}

fn columns(types: &[&str]) -> Vec<Column> {
    types
        .iter()
        .enumerate()
        .map(|(index, name)| Column::new(format!("c{index}"), name.parse().unwrap()))
        .collect()
}

/// Feeds `data` in chunks of `chunk` bytes; all batches.
fn run(
    builder: DecoderBuilder,
    data: &[u8],
    chunk: usize,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let mut decoder = builder.build();
    let mut batches = Vec::new();
    for mut piece in data.chunks(chunk) {
        while !piece.is_empty() {
            let taken = decoder.decode(piece)?;
            piece = &piece[taken..];
            if !piece.is_empty() {
                batches.extend(decoder.flush()?);
            }
        }
    }
    let schema = decoder.schema();
    batches.extend(decoder.finish()?);
    Ok((schema, batches))
}

fn run_whole(types: &[&str], rows: &[Vec<Option<Vec<u8>>>]) -> Result<RecordBatch> {
    let builder = DecoderBuilder::new(columns(types)).with_batch_rows(usize::MAX);
    let (schema, batches) = run(builder, &copy_data(rows), usize::MAX)?;
    Ok(concat_batches(&schema, &batches).unwrap())
}

fn message(types: &[&str], rows: &[Vec<Option<Vec<u8>>>]) -> String {
    run_whole(types, rows).unwrap_err().to_string()
}

#[test]
fn values_and_nulls() {
    let batch = run_whole(
        &["int4", "text"],
        &[
            vec![Some(7_i32.to_be_bytes().to_vec()), Some(b"x".to_vec())],
            vec![None, Some(b"".to_vec())],
            vec![Some((-1_i32).to_be_bytes().to_vec()), None],
        ],
    )
    .unwrap();
    let ints = batch.column(0).as_primitive::<Int32Type>();
    assert_eq!(ints.iter().collect::<Vec<_>>(), [Some(7), None, Some(-1)]);
    let texts = batch.column(1).as_string::<i32>();
    assert_eq!(
        texts.iter().collect::<Vec<_>>(),
        [Some("x"), Some(""), None]
    );
}

#[test]
fn views_hold_the_same_values() {
    let of = |text: &str| Some(text.as_bytes().to_vec());
    let long = "a text that is longer than a view, with an é".to_owned();
    let values = [
        of(""),
        of("é"),
        None,
        of("twelve bytes"),
        of("thirteen byte"),
        of(&long),
        of("thirteen byte"),
    ];
    let rows: Vec<_> = values
        .iter()
        .map(|value| vec![value.clone(), value.clone()])
        .collect();
    for batch_rows in [1, 3, usize::MAX] {
        let types = ["text", "bytea"].map(|name| {
            let pg_type: PgType = name.parse().unwrap();
            pg_type.with_options(&VIEWS)
        });
        let columns = types.map(|pg_type| Column::new("c", pg_type)).to_vec();
        let builder = DecoderBuilder::new(columns).with_batch_rows(batch_rows);
        let (schema, batches) = run(builder, &copy_data(&rows), 7).unwrap();
        let batch = concat_batches(&schema, &batches).unwrap();
        let texts = batch.column(0).as_string_view();
        let bytes = batch.column(1).as_binary_view();
        for (row, value) in values.iter().enumerate() {
            assert_eq!(texts.is_valid(row), value.is_some());
            assert_eq!(bytes.is_valid(row), value.is_some());
            if let Some(value) = value {
                assert_eq!(texts.value(row).as_bytes(), value);
                assert_eq!(bytes.value(row), value);
            }
        }
    }
}

#[test]
fn text_that_is_not_utf8_is_found_in_both_layouts() {
    let text: PgType = "text".parse().unwrap();
    for pg_type in [text.clone(), text.with_options(&VIEWS)] {
        for bad in [&b"\xff"[..], b"longer than twelve bytes \xc3"] {
            let rows =
                [&b"x"[..], b"long enough to stand apart", bad].map(|it| vec![Some(it.to_vec())]);
            let builder = DecoderBuilder::new(vec![Column::new("c", pg_type.clone())]);
            let error = run(builder, &copy_data(&rows), usize::MAX).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("row 3: the text is not valid UTF-8"),
                "{error}"
            );
        }
    }
}

const VIEWS: TypeOptions = TypeOptions {
    text: TextAs::Views,
    ..TypeOptions::LOSSLESS
};

#[test]
fn no_columns_still_have_rows() {
    let batch = run_whole(&[], &[vec![], vec![], vec![]]).unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (3, 0));
}

#[test]
fn errors_name_column_type_and_row() {
    let good = || Some(1_i32.to_be_bytes().to_vec());
    assert_eq!(
        message(
            &["int4", "int4"],
            &[vec![good(), good()], vec![good(), Some(vec![0; 3])]]
        ),
        "column 2 \"c1\" (int4), row 2: expected 4 bytes, found 3"
    );
    assert_eq!(
        message(
            &["text"],
            &[vec![Some(b"a".to_vec())], vec![Some(vec![0xff])]]
        ),
        "column 1 \"c0\" (text), row 2: the text is not valid UTF-8 (is the database's encoding SQL_ASCII?)"
    );
}

#[test]
fn a_character_split_between_two_values_is_not_valid() {
    let (first, second) = ("é".as_bytes()[..1].to_vec(), "é".as_bytes()[1..].to_vec());
    let text = message(&["text"], &[vec![Some(first)], vec![Some(second)]]);
    assert!(
        text.contains("row 1: the text is not valid UTF-8"),
        "{text}"
    );
}

#[test]
fn unrepresentable_values_are_errors_or_null() {
    let infinity = vec![vec![Some(i32::MAX.to_be_bytes().to_vec())]];
    let error = run_whole(&["date"], &infinity).unwrap_err();
    assert_eq!(
        error.to_string(),
        "column 1 \"c0\" (date), row 1: infinity cannot be held by an Arrow date"
    );
    assert!(error.hint().unwrap().contains("unrepresentable"));
    assert!(error.is_unrepresentable() && error.copy().is_unrepresentable());
    // Damage is nothing that another type would hold.
    let damaged = run_whole(&["date"], &[vec![Some(vec![0; 3])]]).unwrap_err();
    assert!(!damaged.is_unrepresentable());
    let builder =
        DecoderBuilder::new(columns(&["date"])).with_unrepresentable(Unrepresentable::Null);
    let (_, batches) = run(builder, &copy_data(&infinity), 1).unwrap();
    assert!(batches[0].column(0).is_null(0));
}

#[test]
fn a_number_that_its_decimal_cannot_hold_is_never_null() {
    // 12.34: one digit of base 10,000 before the point, one behind it.
    let value = [0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x0d, 0x48].to_vec();
    for policy in [Unrepresentable::Error, Unrepresentable::Null] {
        let builder = DecoderBuilder::new(columns(&["numeric(5,1)"])).with_unrepresentable(policy);
        let error = run(builder, &copy_data(&[vec![Some(value.clone())]]), 1).unwrap_err();
        assert!(
            error
                .message()
                .ends_with("12.34 does not fit decimal(5,1) exactly"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("numeric option"));
        assert!(error.is_unrepresentable());
    }
}

#[test]
fn batches_end_by_rows_and_by_bytes() {
    let rows: Vec<_> = (0..100_i64)
        .map(|n| vec![Some(n.to_be_bytes().to_vec())])
        .collect();
    let data = copy_data(&rows);
    let by = |builder: DecoderBuilder| -> Vec<usize> {
        let (_, batches) = run(builder, &data, 33).unwrap();
        batches.iter().map(RecordBatch::num_rows).collect()
    };
    let builder = || DecoderBuilder::new(columns(&["int8"]));
    assert_eq!(by(builder().with_batch_rows(40)), [40, 40, 20]);
    // A row is 14 bytes, the header before the first 19.
    let sizes = by(builder().with_batch_bytes(50));
    assert_eq!(sizes.iter().sum::<usize>(), 100);
    assert!(sizes.iter().all(|rows| *rows <= 3), "{sizes:?}");
    // A row larger than a batch may be is a batch of its own.
    assert_eq!(by(builder().with_batch_bytes(1)), vec![1; 100]);
}

#[test]
fn text_that_is_longer_than_its_wire_form_ends_batches_too() {
    // 1e9999: one digit of weight 2499.
    let mut value = 1_i16.to_be_bytes().to_vec();
    value.extend(2499_i16.to_be_bytes());
    value.extend([0, 0, 0, 0, 0, 1]);
    let rows: Vec<_> = (0..1000).map(|_| vec![Some(value.clone())]).collect();
    let text = PgType::from_catalog(&Type::NUMERIC, -1, 0, &TypeModifiers::default()).with_options(
        &TypeOptions {
            numeric: NumericAs::Text,
            ..TypeOptions::default()
        },
    );
    let builder = DecoderBuilder::new(vec![Column::new("n", text)]).with_batch_bytes(1 << 20);
    let (_, batches) = run(builder, &copy_data(&rows), 4096).unwrap();
    assert_eq!(
        batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
        1000
    );
    for batch in &batches {
        // Ten thousand digits each, and at most one scan of rows more than asked for.
        assert!(
            batch.num_rows() <= 105 + NUMERIC_TEXT_ROWS,
            "{}",
            batch.num_rows()
        );
    }
}

#[test]
fn data_must_end_with_the_trailer() {
    let data = copy_data(&[vec![Some(vec![0, 1])]]);
    for end in 0..data.len() {
        let error = run(DecoderBuilder::new(columns(&["int2"])), &data[..end], 5).unwrap_err();
        assert!(error.to_string().contains("without the trailer"), "{error}");
    }
    let more = [data.as_slice(), b"x"].concat();
    for chunk in [1, usize::MAX] {
        let error = run(DecoderBuilder::new(columns(&["int2"])), &more, chunk).unwrap_err();
        assert!(error.to_string().contains("follow the trailer"), "{error}");
    }
}

fn array(dimensions: &[(i32, i32)], elements: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = (dimensions.len() as i32).to_be_bytes().to_vec();
    bytes.extend([0; 8]);
    for (size, lower_bound) in dimensions {
        bytes.extend(size.to_be_bytes());
        bytes.extend(lower_bound.to_be_bytes());
    }
    for element in elements {
        match element {
            None => bytes.extend((-1_i32).to_be_bytes()),
            Some(element) => {
                bytes.extend((element.len() as i32).to_be_bytes());
                bytes.extend(*element);
            }
        }
    }
    bytes
}

#[test]
fn arrays_nest_by_dimension() {
    let value = array(&[(2, 1), (1, 1)], &[Some(&5_i64.to_be_bytes()), None]);
    let rows = [vec![Some(value)], vec![None], vec![Some(array(&[], &[]))]];
    let batch = run_whole(&["int8[][]"], &rows).unwrap();
    let outer = batch.column(0).as_list::<i32>();
    assert_eq!(
        (
            outer.value_length(0),
            outer.is_null(1),
            outer.value_length(2)
        ),
        (2, true, 0)
    );
    let inner = outer.values().as_list::<i32>();
    let values = inner.values().as_primitive::<Int64Type>();
    assert_eq!(values.iter().collect::<Vec<_>>(), [Some(5), None]);
}

#[test]
fn arrays_that_a_list_cannot_hold_are_errors() {
    let one = 1_i64.to_be_bytes();
    let shifted = array(&[(1, 0)], &[Some(&one)]);
    assert!(message(&["int8[]"], &[vec![Some(shifted)]]).contains("lower bound other than 1"));
    let flat = array(&[(1, 1)], &[Some(&one)]);
    assert!(message(&["int8[][]"], &[vec![Some(flat)]]).contains("1 dimensions in a column of 2"));
    let huge = array(&[(i32::MAX, 1), (i32::MAX, 1)], &[]);
    assert!(message(&["int8[][]"], &[vec![Some(huge)]]).contains("invalid sizes"));
    let negative = array(&[(-1, 1)], &[]);
    assert!(message(&["int8[]"], &[vec![Some(negative)]]).contains("invalid size -1"));
    let short = array(&[(1, 1)], &[Some(&one[..7])]);
    let text = message(&["int8[]"], &[vec![None], vec![Some(short)]]);
    assert!(text.contains("row 2: expected 8 bytes"), "{text}");
}

#[test]
fn ranges_tell_unbounded_from_empty() {
    let rows = [
        vec![Some(vec![0x01])],
        vec![Some(
            [&[0x12][..], &4_i32.to_be_bytes(), &1_i32.to_be_bytes()].concat(),
        )],
        vec![None],
    ];
    let batch = run_whole(&["int4range"], &rows).unwrap();
    let range = batch.column(0).as_struct();
    let flag = |name: &str, row: usize| range.column_by_name(name).unwrap().as_boolean().value(row);
    assert!(flag("empty", 0) && !flag("empty", 1) && flag("lower_inclusive", 1));
    let lower = range
        .column_by_name("lower")
        .unwrap()
        .as_primitive::<Int32Type>();
    assert_eq!((lower.is_null(0), lower.value(1)), (true, 1));
    assert!(range.column_by_name("upper").unwrap().is_null(1) && range.is_null(2));
}

/// Types with one strategy for well-formed values each.
fn field(pg_type: &'static str) -> BoxedStrategy<Vec<u8>> {
    match pg_type {
        "bool" => (0_u8..2).prop_map(|byte| vec![byte]).boxed(),
        "int4" => any::<i32>().prop_map(|n| n.to_be_bytes().to_vec()).boxed(),
        "float8" => any::<f64>().prop_map(|n| n.to_be_bytes().to_vec()).boxed(),
        "uuid" => any::<[u8; 16]>().prop_map(|bytes| bytes.to_vec()).boxed(),
        "bytea" => any::<Vec<u8>>().boxed(),
        _ => ".{0,9}".prop_map(String::into_bytes).boxed(),
    }
}

const TYPES: [&str; 6] = ["bool", "int4", "float8", "uuid", "bytea", "text"];

fn table() -> impl Strategy<Value = Vec<Vec<Option<Vec<u8>>>>> {
    let row: Vec<_> = TYPES
        .iter()
        .map(|pg_type| proptest::option::weighted(0.8, field(pg_type)))
        .collect();
    proptest::collection::vec(row, 0..40)
}

proptest! {
    #[test]
    fn chunks_and_batches_do_not_matter(
        rows in table(),
        chunk in 1_usize..200,
        batch_rows in 1_usize..20,
        batch_bytes in 1_usize..500,
    ) {
        let data = copy_data(&rows);
        let whole = run_whole(&TYPES, &rows).unwrap();
        prop_assert_eq!(whole.num_rows(), rows.len());
        let builder = DecoderBuilder::new(columns(&TYPES))
            .with_batch_rows(batch_rows)
            .with_batch_bytes(batch_bytes);
        let (schema, batches) = run(builder, &data, chunk).unwrap();
        prop_assert!(batches.iter().all(|batch| batch.num_rows() <= batch_rows));
        let joined = concat_batches(&schema, &batches).unwrap();
        for (left, right) in joined.columns().iter().zip(whole.columns()) {
            // Array data is compared by its bytes, in which NaN is equal to itself.
            prop_assert_eq!(left.to_data(), right.to_data());
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic(
        rows in table(),
        places in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
        chunk in 1_usize..200,
    ) {
        let mut data = copy_data(&rows);
        for (place, byte) in places {
            let len = data.len();
            data[place % len] = byte;
        }
        // Damage inside a value may give another value; anything else has to be an error.
        let _ = run(DecoderBuilder::new(columns(&TYPES)), &data, chunk);
    }

    #[test]
    fn any_bytes_are_read_without_panic_for_every_type(bytes in any::<Vec<u8>>()) {
        for pg_type in [
            "bool", "int2", "oid", "xid8", "float4", "numeric(10,2)", "numeric(50,10)", "jsonb",
            "\"char\"", "uuid", "date", "time", "timetz", "timestamp", "interval", "inet", "cidr",
            "macaddr", "varbit", "pg_lsn", "int4[]", "text[][]", "numrange", "datemultirange",
            "int2vector",
        ] {
            let _ = run_whole(&[pg_type], &[vec![Some(bytes.clone())], vec![None]]);
        }
    }
}

/// Types that users make, as the client library describes them.
fn user_columns() -> Vec<Column> {
    let new = |name: &str, kind: Kind| Type::new(name.to_owned(), 0, kind, "public".to_owned());
    let mood = new(
        "mood",
        Kind::Enum(vec!["sad".to_owned(), "very happy".to_owned()]),
    );
    let pair = new(
        "pair",
        Kind::Composite(vec![
            Field::new("n".to_owned(), Type::INT4),
            Field::new("moods".to_owned(), new("_mood", Kind::Array(mood.clone()))),
        ]),
    );
    let ints = new("ints", Kind::Domain(Type::INT4_ARRAY));
    [
        mood.clone(),
        pair.clone(),
        new("_pair", Kind::Array(pair)),
        new("moodrange", Kind::Range(mood)),
        new("_ints", Kind::Array(ints)),
        new("hstore", Kind::Simple),
        new("ltree", Kind::Simple),
        new("vector", Kind::Simple),
        new("nothing", Kind::Composite(Vec::new())),
        Type::INT2_VECTOR,
    ]
    .into_iter()
    .map(|oid_type| {
        let pg_type = PgType::from_catalog(&oid_type, -1, 0, &TypeModifiers::default());
        Column::new(oid_type.name(), pg_type)
    })
    .collect()
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as i32).to_be_bytes(), bytes].concat()
}

/// A row of [`user_columns`] and its text.
fn user_row() -> (Vec<Option<Vec<u8>>>, [&'static str; 10]) {
    let int = |n: i32| with_length(&n.to_be_bytes());
    let moods = array(&[(2, 1)], &[Some(b"very happy"), None]);
    let pair = [
        vec![0, 0, 0, 2, 0, 0, 0, 0],
        int(7),
        vec![0; 4],
        with_length(&moods),
    ]
    .concat();
    let ints = array(&[(1, 1)], &[Some(&5_i32.to_be_bytes())]);
    let hstore = [
        vec![0, 0, 0, 2],
        with_length(b"a"),
        with_length(b"\""),
        with_length(b""),
        vec![0xff; 4],
    ]
    .concat();
    let vector = [&[0, 2, 0, 0], &1.5_f32.to_be_bytes()[..], &[0; 4]].concat();
    let row = vec![
        b"very happy".to_vec(),
        pair.clone(),
        array(&[(2, 1)], &[Some(&pair), None]),
        [vec![0x12], with_length(b"sad")].concat(),
        array(&[(3, 1)], &[Some(&ints), None, Some(&array(&[], &[]))]),
        hstore,
        b"\x01a.b".to_vec(),
        vector,
        vec![0; 4],
        array(&[(2, 0)], &[Some(&[0, 1]), Some(&[0xff, 0xff])]),
    ];
    let texts = [
        "very happy",
        r#"(7,"{""very happy"",NULL}")"#,
        r#"{"(7,\"{\"\"very happy\"\",NULL}\")",NULL}"#,
        "[sad,)",
        r#"{"{5}",NULL,"{}"}"#,
        r#""a"=>"\"", ""=>NULL"#,
        "a.b",
        "[1.5,0]",
        "()",
        "1 -1",
    ];
    (row.into_iter().map(Some).collect(), texts)
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    let schema = batch.schema();
    let mut texts = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        column.to_data().validate_full().unwrap();
        let formatter = TextFormatter::try_new(field, column).unwrap();
        for row in (0..batch.num_rows()).filter(|row| !formatter.is_null(*row)) {
            let mut text = String::new();
            formatter.write(row, &mut text);
            texts.push(text);
        }
    }
    texts
}

#[test]
fn types_of_users_are_printed_as_postgresql_does() {
    let (row, expected) = user_row();
    let nulls = vec![None; row.len()];
    let data = copy_data(&[nulls.clone(), row, nulls]);
    for chunk in [1, 7, usize::MAX] {
        let (_, batches) = run(DecoderBuilder::new(user_columns()), &data, chunk).unwrap();
        assert_eq!(texts(&batches[0]), expected);
    }
}

proptest! {
    #[test]
    fn damage_of_types_of_users_is_never_a_panic(
        places in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        chunk in 1_usize..100,
    ) {
        let (row, _) = user_row();
        let mut data = copy_data(&[row.clone(), vec![None; row.len()], row]);
        for (place, byte) in places {
            let len = data.len() - HEADER.len();
            data[HEADER.len() + place % len] = byte;
        }
        if let Ok((_, batches)) = run(DecoderBuilder::new(user_columns()), &data, chunk) {
            let _ = batches.iter().map(texts).count();
        }
    }
}
