//! The documented table, type modifiers and options.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use tokio_postgres::types::{Kind, Type};

use super::catalog::{BUILTINS, numeric_modifier};
use super::*;
use crate::error::ErrorKind;

fn arrow_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Time64(_) => "Time64(µs)".to_owned(),
        DataType::Timestamp(_, None) => "Timestamp(µs)".to_owned(),
        DataType::Timestamp(_, Some(zone)) => format!("Timestamp(µs, {zone:?})"),
        DataType::Interval(_) => "Interval(MonthDayNano)".to_owned(),
        DataType::List(item) => format!("List({})", arrow_name(item.data_type())),
        other => other.to_string(),
    }
}

/// The table of the module's documentation is checked against the code, row by row.
#[test]
fn the_documented_table_has_every_built_in_type() {
    let source = include_str!("mod.rs");
    for builtin in BUILTINS.iter().filter(|builtin| builtin.name != "char") {
        let pg_type: PgType = builtin.name.parse().unwrap();
        let row = format!(
            "//! | `{}` | `{}` |",
            builtin.name,
            arrow_name(&pg_type.data_type())
        );
        assert!(
            source.contains(&row),
            "the documentation lacks the row {row}"
        );
    }
    let documented = source
        .lines()
        .filter(|line| line.starts_with("//! | `"))
        .count();
    // Beside the built-in types: four rows of numeric(p,s), hstore, vector, geometry, citext.
    assert_eq!(documented, BUILTINS.len() - 1 + 8);
}

#[test]
fn numeric_modifiers_keep_precision_and_scale() {
    let decimal = |text: &str| text.parse::<PgType>().unwrap().data_type();
    assert_eq!(decimal("numeric(15,2)"), DataType::Decimal128(15, 2));
    assert_eq!(decimal("numeric(39,3)"), DataType::Decimal256(39, 3));
    assert_eq!(decimal("numeric(5,-2)"), DataType::Decimal128(7, 0));
    assert_eq!(decimal("numeric(2,5)"), DataType::Decimal128(5, 5));
    assert_eq!(decimal("numeric(1000,2)"), DataType::Decimal128(38, 20));
    // (15 << 16 | 2) + 4, and scale -2 in its 11 bits.
    assert_eq!(numeric_modifier(983_046), Some((15, 2)));
    assert_eq!(
        numeric_modifier((5 << 16 | (-2 & 0x7ff)) + 4),
        Some((5, -2))
    );
    assert_eq!(numeric_modifier(-1), None);
}

#[test]
fn a_part_without_binary_form_makes_the_whole_column_text() {
    let element = PgType::new("aclitem", Shape::Cast);
    let array = PgType::array(element, 1).with_options(&TypeOptions::default());
    assert_eq!(array.shape, Shape::Cast);
    assert_eq!(array.name(), "aclitem[]");
    assert!(
        Column::new("a", array)
            .select_expression("c1")
            .contains("format('%s', c1)")
    );
}

#[test]
fn text_for_unrepresentable_values_reaches_into_composites() {
    let options = TypeOptions {
        unrepresentable: Unrepresentable::Text,
        ..TypeOptions::default()
    };
    let fields = vec![Column::new("d", PgType::new("date", Shape::Date))];
    let composite = PgType::new("c", Shape::Composite { fields }).with_options(&options);
    assert_eq!(composite.shape, Shape::Cast);
    let int = PgType::new("int4", Shape::Int4).with_options(&options);
    assert_eq!(int.shape, Shape::Int4);
    // Ranges too, whatever the type of their bounds.
    for (name, is_text) in [
        ("numrange", true),
        ("daterange", true),
        ("int4range", false),
    ] {
        let range = name.parse::<PgType>().unwrap().with_options(&options);
        assert_eq!(range.shape == Shape::Cast, is_text, "{name}");
    }
}

#[test]
fn a_numeric_is_what_was_asked_for() {
    let of = |name: &str, numeric, unrepresentable| {
        let options = TypeOptions {
            numeric,
            unrepresentable,
            ..TypeOptions::default()
        };
        // The parser chooses for what has no scale.
        let shape = match name {
            "numeric(10,2)" => name.parse::<PgType>().unwrap().shape,
            _ => Shape::Numeric,
        };
        PgType::new(name, shape).with_options(&options).shape
    };
    let decimal = NumericAs::Decimal {
        precision: 10,
        scale: 2,
    };
    let shape = Shape::Decimal {
        precision: 10,
        scale: 2,
    };
    let text = Shape::NumericText { finite: false };
    for name in ["numeric", "numeric(77,1)"] {
        for how in [
            Unrepresentable::Error,
            Unrepresentable::Null,
            Unrepresentable::Text,
        ] {
            assert_eq!(of(name, decimal, how), shape, "{name}");
            assert_eq!(
                of(name, NumericAs::Float64, how),
                Shape::NumericFloat,
                "{name}"
            );
            assert_eq!(of(name, NumericAs::Text, how), text, "{name}");
        }
        assert_eq!(of(name, NumericAs::Auto, Unrepresentable::Text), text);
    }
    assert_eq!(
        of("numeric(10,2)", NumericAs::Float64, Unrepresentable::Null),
        shape
    );
    assert_eq!(
        of("numeric(10,2)", NumericAs::Float64, Unrepresentable::Text),
        text
    );
}

#[test]
fn options_are_read_and_refused() {
    assert_eq!(
        "decimal(10, 2)".parse::<NumericAs>().unwrap(),
        NumericAs::Decimal {
            precision: 10,
            scale: 2
        }
    );
    for bad in ["decimal(0,0)", "decimal(77,0)", "decimal(3,4)", "float", ""] {
        let error = bad.parse::<NumericAs>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
    }
    assert!("nul".parse::<Unrepresentable>().is_err());
}

#[test]
fn the_vectors_of_the_catalog_are_no_arrays_from_one() {
    let modifiers = TypeModifiers::default();
    let pg_type = PgType::from_catalog(&Type::OID_VECTOR, -1, 0, &modifiers);
    assert_eq!(pg_type, "oidvector".parse().unwrap());
    let field = PgType::from_catalog(&Type::INT2_VECTOR_ARRAY, -1, 0, &modifiers).to_field("v");
    let DataType::List(item) = field.data_type() else {
        panic!("not a list")
    };
    let extension = item.metadata().get(EXTENSION_NAME).map(String::as_str);
    assert_eq!(extension, Some(CATALOG_VECTOR_EXTENSION));
}

#[test]
fn an_array_of_arrays_by_way_of_a_domain_is_not_one_of_two_dimensions() {
    let domain = Type::new(
        "ints".to_owned(),
        99_999,
        Kind::Domain(Type::INT4_ARRAY),
        "public".to_owned(),
    );
    let array = Type::new(
        "_ints".to_owned(),
        99_998,
        Kind::Array(domain),
        "public".to_owned(),
    );
    let pg_type = PgType::from_catalog(&array, -1, 0, &TypeModifiers::default());
    let DataType::List(item) = pg_type.data_type() else {
        panic!("not a list")
    };
    let extension = item.metadata().get(EXTENSION_NAME).map(String::as_str);
    assert_eq!(extension, Some(ARRAY_EXTENSION));
}

#[test]
fn nested_lists_have_one_level_for_each_dimension() {
    let two: PgType = "int4[][]".parse().unwrap();
    let DataType::List(outer) = two.data_type() else {
        panic!("not a list")
    };
    assert_eq!(
        outer.data_type(),
        &DataType::List(Arc::new(Field::new("item", DataType::Int32, true)))
    );
}
