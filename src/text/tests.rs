//! The expected texts are what a PostgreSQL 15 server printed for the same values.

#![allow(
    clippy::excessive_precision,
    reason = "values that a shorter text would not tell apart"
)]

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;

use super::*;

/// The text of every row; NULL as `None`.
fn texts_of(field: &Field, array: &dyn Array) -> Vec<Option<String>> {
    let formatter = TextFormatter::try_new(field, array).unwrap();
    (0..array.len())
        .map(|row| {
            let mut out = String::new();
            (!formatter.is_null(row)).then(|| {
                formatter.write(row, &mut out);
                out
            })
        })
        .collect()
}

fn plain(array: &dyn Array) -> Field {
    Field::new("c", array.data_type().clone(), true)
}

fn extended(array: &dyn Array, name: &str) -> Field {
    extension(plain(array), name)
}

fn extension(field: Field, name: &str) -> Field {
    field.with_metadata(HashMap::from([(
        crate::types::EXTENSION_NAME.to_owned(),
        name.to_owned(),
    )]))
}

#[track_caller]
fn assert_texts(array: &dyn Array, expected: &[&str]) {
    assert_field(&plain(array), array, expected);
}

#[track_caller]
fn assert_field(field: &Field, array: &dyn Array, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|t| Some((*t).to_owned())).collect();
    assert_eq!(texts_of(field, array), expected);
}

#[test]
fn booleans_and_integers() {
    assert_texts(&BooleanArray::from(vec![true, false]), &["t", "f"]);
    assert_texts(&Int8Array::from(vec![i8::MIN]), &["-128"]);
    assert_texts(&Int16Array::from(vec![i16::MIN, 0]), &["-32768", "0"]);
    assert_texts(&Int64Array::from(vec![i64::MIN]), &["-9223372036854775808"]);
    assert_texts(&UInt32Array::from(vec![u32::MAX]), &["4294967295"]);
    assert_texts(
        &UInt64Array::from(vec![u64::MAX]),
        &["18446744073709551615"],
    );
    let with_null = Int32Array::from(vec![Some(1), None]);
    assert_eq!(
        texts_of(&plain(&with_null), &with_null),
        [Some("1".to_owned()), None]
    );
    assert_eq!(
        texts_of(&plain(&NullArray::new(2)), &NullArray::new(2)),
        [None, None]
    );
}

#[test]
fn float8_is_the_shortest_text_that_postgresql_prints() {
    for (value, text) in [
        (1e23, "9.999999999999999e+22"),
        (2e23, "1.9999999999999998e+23"),
        (8.41e21, "8.409999999999999e+21"),
        (1e22, "1e+22"),
        (1e15, "1e+15"),
        (1e14, "100000000000000"),
        (123456789012345.0, "123456789012345"),
        (999999999999999.0, "999999999999999"),
        (123456789012345680.0, "1.2345678901234568e+17"),
        (9007199254740993.0, "9.007199254740992e+15"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (0.00012345, "0.00012345"),
        (-0.0, "-0"),
        (0.0, "0"),
        (5e-324, "5e-324"),
        (2f64.powi(-25), "2.9802322387695312e-08"),
        (199138850438087.125, "199138850438087.12"),
        (1097718834198879.25, "1.0977188341988792e+15"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::MIN, "-1.7976931348623157e+308"),
        (0.1, "0.1"),
        (100.0, "100"),
        (1.5, "1.5"),
        (123456.789, "123456.789"),
        (1e100, "1e+100"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        assert_texts(&Float64Array::from(vec![value]), &[text]);
    }
}

#[test]
fn float4_is_the_shortest_text_that_postgresql_prints() {
    for (value, text) in [
        (1e6, "1e+06"),
        (1e5, "100000"),
        (999999.0, "999999"),
        (1234567.0, "1.234567e+06"),
        (123456.7, "123456.7"),
        (16777216.0, "1.6777216e+07"),
        (1687654.25, "1.6876542e+06"),
        (8.5e9, "8.4999997e+09"),
        (33554432.0, "3.3554432e+07"),
        (67108864.0, "6.7108864e+07"),
        (0.1, "0.1"),
        (1e-5, "1e-05"),
        (1e-45, "1e-45"),
        (f32::MAX, "3.4028235e+38"),
        (f32::MIN_POSITIVE, "1.1754944e-38"),
        (-0.0, "-0"),
        (f32::NAN, "NaN"),
    ] {
        assert_texts(&Float32Array::from(vec![value]), &[text]);
    }
}

#[test]
fn decimals_have_exactly_their_scale() {
    let decimals = |values: Vec<i128>, precision, scale| {
        Decimal128Array::from(values)
            .with_precision_and_scale(precision, scale)
            .unwrap()
    };
    assert_texts(
        &decimals(vec![50, -50, 0, 12345, -1], 5, 3),
        &["0.050", "-0.050", "0.000", "12.345", "-0.001"],
    );
    assert_texts(&decimals(vec![5, -5], 5, 0), &["5", "-5"]);
    assert_texts(&decimals(vec![0, 12, -3], 3, -2), &["0", "1200", "-300"]);
    let widest = "9".repeat(38);
    assert_texts(
        &decimals(vec![10i128.pow(38) - 1], 38, 38),
        &[&format!("0.{widest}")],
    );
    let wide = Decimal256Array::from(vec![i256::from_i128(-5), i256::from_i128(123_456)])
        .with_precision_and_scale(60, 2)
        .unwrap();
    assert_texts(&wide, &["-0.05", "1234.56"]);
    let small = Decimal32Array::from(vec![-1])
        .with_precision_and_scale(5, 2)
        .unwrap();
    assert_texts(&small, &["-0.01"]);
}

#[test]
fn dates_and_times() {
    assert_texts(
        &Date32Array::from(vec![0, -1, -719163, 2932897, 19723 + 1, 11016, 2145042905]),
        &[
            "1970-01-01",
            "1969-12-31",
            "0001-12-31 BC",
            "10000-01-01",
            "2024-01-02",
            "2000-02-29",
            "5874897-12-31",
        ],
    );
    assert_texts(&Date64Array::from(vec![-1]), &["1969-12-31"]);
    assert_texts(
        &Time64MicrosecondArray::from(vec![45_296_789_000, 86_400_000_000, 1, 0]),
        &["12:34:56.789", "24:00:00", "00:00:00.000001", "00:00:00"],
    );
    assert_texts(&Time32SecondArray::from(vec![59]), &["00:00:59"]);
    assert_texts(&Time32MillisecondArray::from(vec![10]), &["00:00:00.01"]);
    assert_texts(
        &Time64NanosecondArray::from(vec![1]),
        &["00:00:00.000000001"],
    );
}

#[test]
fn timestamps() {
    assert_texts(
        &TimestampMicrosecondArray::from(vec![
            1_704_164_645_678_000,
            0,
            -100_000,
            i64::MAX,
            -210_863_520_000_000_000,
        ]),
        &[
            "2024-01-02 03:04:05.678",
            "1970-01-01 00:00:00",
            "1969-12-31 23:59:59.9",
            "294247-01-10 04:00:54.775807",
            "4713-01-01 00:00:00 BC",
        ],
    );
    for zone in ["UTC", "+00:00", "Europe/Berlin"] {
        assert_texts(
            &TimestampMicrosecondArray::from(vec![1_704_164_645_678_000, -62_167_219_200_000_000])
                .with_timezone(zone),
            &["2024-01-02 03:04:05.678+00", "0001-01-01 00:00:00+00 BC"],
        );
    }
    assert_texts(
        &TimestampSecondArray::from(vec![-1]),
        &["1969-12-31 23:59:59"],
    );
    assert_texts(
        &TimestampNanosecondArray::from(vec![-1]),
        &["1969-12-31 23:59:59.999999999"],
    );
}

#[test]
fn intervals() {
    let interval =
        |months, days, micros: i64| IntervalMonthDayNano::new(months, days, micros * 1000);
    assert_texts(
        &IntervalMonthDayNanoArray::from(vec![
            interval(14, 3, 14_706_789_000),
            interval(-14, 3, -14_706_000_000),
            interval(0, 0, 0),
            interval(0, 0, -500_000),
            interval(0, 1, -1),
            interval(1, -1, 1_000_000),
            interval(-1, 0, 1_000_000),
            interval(-1, 2, 1_000_000),
            interval(11, 0, 0),
            interval(0, -1, 0),
            interval(1, 1, 0),
            interval(0, 0, 360_000_000_000),
            interval(i32::MIN, i32::MIN, -9_223_372_036_854_775),
        ]),
        &[
            "1 year 2 mons 3 days 04:05:06.789",
            "-1 years -2 mons +3 days -04:05:06",
            "00:00:00",
            "-00:00:00.5",
            "1 day -00:00:00.000001",
            "1 mon -1 days +00:00:01",
            "-1 mons +00:00:01",
            "-1 mons +2 days 00:00:01",
            "11 mons",
            "-1 days",
            "1 mon 1 day",
            "100:00:00",
            "-178956970 years -8 mons -2147483648 days -2562047:47:16.854775",
        ],
    );
    assert_texts(
        &IntervalDayTimeArray::from(vec![IntervalDayTime::new(-1, 1)]),
        &["-1 days +00:00:00.001"],
    );
    assert_texts(&IntervalYearMonthArray::from(vec![25]), &["2 years 1 mon"]);
    assert_texts(&DurationSecondArray::from(vec![-61]), &["-00:01:01"]);
}

#[test]
fn text_bytes_uuid_and_geometry() {
    assert_texts(&StringArray::from(vec!["a\"b", ""]), &["a\"b", ""]);
    assert_texts(&LargeStringArray::from(vec!["é"]), &["é"]);
    assert_texts(
        &StringViewArray::from(vec!["a longer text than fits"]),
        &["a longer text than fits"],
    );
    let bytes: Vec<&[u8]> = vec![b"\xde\xad\xbe\xef", b""];
    assert_texts(&BinaryArray::from(bytes.clone()), &["\\xdeadbeef", "\\x"]);
    assert_texts(
        &LargeBinaryArray::from(bytes.clone()),
        &["\\xdeadbeef", "\\x"],
    );
    assert_texts(
        &BinaryViewArray::from(bytes.clone()),
        &["\\xdeadbeef", "\\x"],
    );
    let geometry = BinaryArray::from(bytes);
    assert_field(
        &extended(&geometry, "geoarrow.wkb"),
        &geometry,
        &["DEADBEEF", ""],
    );
    let uuid = FixedSizeBinaryArray::try_from_iter(
        [0xa0eebc99_9c0b_4ef8_bb6d_6bb9bd380a11u128.to_be_bytes()].iter(),
    )
    .unwrap();
    assert_field(
        &extended(&uuid, "arrow.uuid"),
        &uuid,
        &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    );
    assert_texts(&uuid, &["\\xa0eebc999c0b4ef8bb6d6bb9bd380a11"]);
}

#[test]
fn enums_may_be_null_by_key_or_by_value() {
    let values = StringArray::from(vec![Some("sad"), None]);
    let keys = Int32Array::from(vec![Some(0), Some(1), None]);
    let moods = DictionaryArray::new(keys, Arc::new(values));
    assert_eq!(
        texts_of(&plain(&moods), &moods),
        [Some("sad".to_owned()), None, None]
    );
    let empty = StringArray::from(Vec::<&str>::new());
    let moods = DictionaryArray::new(Int32Array::from(vec![None]), Arc::new(empty));
    assert_eq!(texts_of(&plain(&moods), &moods), [None]);
}

#[test]
fn arrays_quote_what_array_out_quotes() {
    let items = [
        "a", "", "null", "NULL", "nUll", "x y", "a\tb", "a,b", "a\"b", "a\\b", "{", "é", ";",
        "\u{a0}", "\u{b}",
    ];
    let mut builder = ListBuilder::new(StringBuilder::new());
    builder.append_value(items.iter().map(|item| Some(*item)));
    builder.append_value([None, Some("1")]);
    builder.append_value(Vec::<Option<&str>>::new());
    builder.append_null();
    let list = builder.finish();
    let texts = texts_of(&plain(&list), &list);
    assert_eq!(
        texts[0].as_deref(),
        Some(
            "{a,\"\",\"null\",\"NULL\",\"nUll\",\"x y\",\"a\tb\",\"a,b\",\"a\\\"b\",\"a\\\\b\",\
             \"{\",é,;,\u{a0},\"\u{b}\"}"
        )
    );
    assert_eq!(texts[1].as_deref(), Some("{NULL,1}"));
    assert_eq!(texts[2].as_deref(), Some("{}"));
    assert_eq!(texts[3], None);
    // A slice keeps its offsets.
    assert_texts(&list.slice(1, 2), &["{NULL,1}", "{}"]);
}

#[test]
fn nested_lists_are_dimensions() {
    let mut builder = ListBuilder::new(ListBuilder::new(Int32Builder::new()));
    builder.append_value([Some(vec![Some(1), Some(2)]), Some(vec![Some(3), None])]);
    builder.append_value(Vec::<Option<Vec<Option<i32>>>>::new());
    assert_texts(&builder.finish(), &["{{1,2},{3,NULL}}", "{}"]);
    let fixed = FixedSizeListArray::new(
        Arc::new(Field::new("item", DataType::Boolean, true)),
        2,
        Arc::new(BooleanArray::from(vec![true, false, false, true])),
        None,
    );
    assert_texts(&fixed.slice(1, 1), &["{f,t}"]);
}

#[test]
fn composites_quote_what_record_out_quotes() {
    let texts = [
        Some("a b"),
        None,
        Some(""),
        Some("x\"y"),
        Some("a\\b"),
        Some("("),
        Some("a,b"),
        Some("{1,2}"),
        Some("\n"),
        Some("{"),
    ];
    let columns: Vec<(FieldRef, ArrayRef)> = texts
        .iter()
        .map(|text| {
            let field = Arc::new(Field::new("f", DataType::Utf8, true));
            (field, Arc::new(StringArray::from(vec![*text])) as ArrayRef)
        })
        .collect();
    let record = StructArray::from(columns);
    assert_texts(
        &record,
        &["(\"a b\",,\"\",\"x\"\"y\",\"a\\\\b\",\"(\",\"a,b\",\"{1,2}\",\"\n\",{)"],
    );
    assert_texts(&StructArray::new_empty_fields(1, None), &["()"]);
    let list = ListArray::new(
        Arc::new(Field::new("item", record.data_type().clone(), true)),
        OffsetBuffer::from_lengths([1]),
        Arc::new(record.slice(0, 1)),
        None,
    );
    let text = texts_of(&plain(&list), &list).remove(0).unwrap();
    assert!(
        text.starts_with(r#"{"(\"a b\",,\"\",\"x\"\"y\",\"a\\\\b\""#),
        "{text}"
    );
}

/// Lower, upper, both inclusive flags and empty.
type RangeRow<'a> = (Option<&'a str>, Option<&'a str>, bool, bool, bool);

/// Ranges of text.
fn ranges(rows: &[RangeRow<'_>]) -> StructArray {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    StructArray::new(
        Fields::from(vec![
            field("lower", DataType::Utf8),
            field("upper", DataType::Utf8),
            field("lower_inclusive", DataType::Boolean),
            field("upper_inclusive", DataType::Boolean),
            field("empty", DataType::Boolean),
        ]),
        vec![
            Arc::new(rows.iter().map(|r| r.0).collect::<StringArray>()),
            Arc::new(rows.iter().map(|r| r.1).collect::<StringArray>()),
            Arc::new(rows.iter().map(|r| Some(r.2)).collect::<BooleanArray>()),
            Arc::new(rows.iter().map(|r| Some(r.3)).collect::<BooleanArray>()),
            Arc::new(rows.iter().map(|r| Some(r.4)).collect::<BooleanArray>()),
        ],
        None,
    )
}

#[test]
fn ranges_quote_what_range_out_quotes() {
    let array = ranges(&[
        (Some("1"), Some("10"), true, false, false),
        (None, Some("5"), false, true, false),
        (None, None, false, false, true),
        (None, None, false, false, false),
        (Some(""), Some("a b"), true, false, false),
        (Some("\""), Some("\\"), true, false, false),
        (Some("["), Some("x,y"), true, false, false),
        (Some("{"), Some("}"), true, false, false),
        (Some("A"), Some("null"), true, false, false),
    ]);
    let field = extended(&array, "merganser.range");
    let expected = [
        "[1,10)",
        "(,5]",
        "empty",
        "(,)",
        "[\"\",\"a b\")",
        "[\"\"\"\",\"\\\\\")",
        "[\"[\",\"x,y\")",
        "[{,})",
        "[A,null)",
    ];
    assert_field(&field, &array, &expected);
    let list = |name: Option<&str>| {
        let item = Field::new("item", array.data_type().clone(), true);
        let item = extension(item, "merganser.range");
        let list = ListArray::new(
            Arc::new(item),
            OffsetBuffer::from_lengths([2, 0]),
            Arc::new(array.slice(0, 2)),
            None,
        );
        let field = plain(&list);
        (
            name.map_or(field.clone(), |name| extension(field, name)),
            list,
        )
    };
    let (field, multirange) = list(Some("merganser.multirange"));
    assert_field(&field, &multirange, &["{[1,10),(,5]}", "{}"]);
    let (field, plain) = list(None);
    assert_field(&field, &plain, &["{\"[1,10)\",\"(,5]\"}", "{}"]);
    // An array of multiranges is not an array of two dimensions.
    let array_of = ListArray::new(
        Arc::new(extension(
            Field::new("item", multirange.data_type().clone(), true),
            "merganser.multirange",
        )),
        OffsetBuffer::from_lengths([2]),
        Arc::new(multirange),
        None,
    );
    assert_texts(&array_of, &["{\"{[1,10),(,5]}\",\"{}\"}"]);
}

#[test]
fn a_malformed_range_is_an_error() {
    let array = StructArray::new_empty_fields(1, None);
    let error = TextFormatter::try_new(&extended(&array, "merganser.range"), &array).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Export);
    assert!(error.message().contains("column \"c\""), "{error}");
}

#[test]
fn hstore_and_vector() {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (key, value) in [
        ("a", Some("1")),
        ("b", None),
        ("a\"b", Some("c\\d")),
        ("", Some("NULL")),
    ] {
        builder.keys().append_value(key);
        builder.values().append_option(value);
    }
    builder.append(true).unwrap();
    builder.append(true).unwrap();
    assert_texts(
        &builder.finish(),
        &[r#""a"=>"1", "b"=>NULL, "a\"b"=>"c\\d", ""=>"NULL""#, ""],
    );
    let vectors = FixedSizeListArray::new(
        Arc::new(Field::new("item", DataType::Float32, true)),
        3,
        Arc::new(Float32Array::from(vec![1.0, 2.5, 3.0, 0.0, 0.0, 0.0])),
        Some(NullBuffer::from(vec![true, false])),
    );
    assert_eq!(
        texts_of(&extended(&vectors, "merganser.vector"), &vectors),
        [Some("[1,2.5,3]".to_owned()), None]
    );
}

#[test]
fn an_unknown_type_is_an_error_that_names_the_column() {
    let array = Float16Array::from(Vec::<<Float16Type as ArrowPrimitiveType>::Native>::new());
    let error = TextFormatter::try_new(&plain(&array), &array).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Export);
    assert!(
        error
            .message()
            .starts_with("column \"c\": Arrow type Float16"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("cast"));
}
