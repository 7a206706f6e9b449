//! From how a type is read to its Arrow type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};

use super::{
    ARRAY_EXTENSION, CATALOG_VECTOR_EXTENSION, Column, DECIMAL128_PRECISION, EXTENSION_METADATA,
    EXTENSION_NAME, JSON_EXTENSION, LIST_ITEM, MULTIRANGE_EXTENSION, POSTGRES_TYPE, PgType,
    RANGE_EXTENSION, Shape, UUID_EXTENSION, VECTOR_EXTENSION, WKB_EXTENSION,
};

impl PgType {
    /// The Arrow type.
    pub fn data_type(&self) -> DataType {
        match &self.shape {
            Shape::Bool => DataType::Boolean,
            Shape::Int2 => DataType::Int16,
            Shape::Int4 => DataType::Int32,
            Shape::Int8 => DataType::Int64,
            Shape::Oid => DataType::UInt32,
            Shape::Xid8 => DataType::UInt64,
            Shape::Float4 => DataType::Float32,
            Shape::Float8 | Shape::NumericFloat => DataType::Float64,
            Shape::Numeric => decimal_type(38, 20),
            Shape::Decimal { precision, scale } => decimal_type(*precision, *scale),
            Shape::NumericText { .. }
            | Shape::Char
            | Shape::Text { .. }
            | Shape::TimeTz
            | Shape::Inet { .. }
            | Shape::MacAddr
            | Shape::Bit
            | Shape::Lsn
            | Shape::Cast => match self.views {
                true => DataType::Utf8View,
                false => DataType::Utf8,
            },
            Shape::Bytea | Shape::Geometry => match self.views {
                true => DataType::BinaryView,
                false => DataType::Binary,
            },
            Shape::Uuid => DataType::FixedSizeBinary(16),
            Shape::Date => DataType::Date32,
            Shape::Time => DataType::Time64(TimeUnit::Microsecond),
            Shape::Timestamp { utc } => {
                DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| "UTC".into()))
            }
            Shape::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Shape::Enum { .. } => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
            }
            Shape::Array {
                element,
                dimensions,
                ..
            } => (1..*dimensions).fold(
                DataType::List(Arc::new(element_field(element))),
                |inner, _| DataType::List(Arc::new(Field::new(LIST_ITEM, inner, true))),
            ),
            Shape::Composite { fields } => {
                DataType::Struct(fields.iter().map(Column::to_field).collect())
            }
            Shape::Range { element } => DataType::Struct(range_fields(element)),
            Shape::Multirange { element } => {
                DataType::List(Arc::new(range_of(element).to_field(LIST_ITEM)))
            }
            Shape::Hstore => DataType::Map(Arc::new(hstore_entries()), false),
            Shape::Vector { dimensions } => {
                let item = Arc::new(Field::new(LIST_ITEM, DataType::Float32, true));
                match dimensions {
                    Some(dimensions) => DataType::FixedSizeList(item, *dimensions),
                    None => DataType::List(item),
                }
            }
        }
    }

    /// A nullable Arrow field of this type.
    pub fn to_field(&self, name: &str) -> Field {
        let field = Field::new(name, self.data_type(), true);
        let extension = match &self.shape {
            Shape::Uuid => UUID_EXTENSION,
            Shape::Text { json: true, .. } => JSON_EXTENSION,
            Shape::Geometry => WKB_EXTENSION,
            Shape::Range { .. } => RANGE_EXTENSION,
            Shape::Multirange { .. } => MULTIRANGE_EXTENSION,
            Shape::Vector { .. } => VECTOR_EXTENSION,
            Shape::Array { lower_bound: 0, .. } => CATALOG_VECTOR_EXTENSION,
            // Without their names these would be text like any other.
            Shape::Cast | Shape::NumericText { .. } | Shape::TimeTz => {
                return field.with_metadata([(POSTGRES_TYPE.to_owned(), self.name.clone())].into());
            }
            _ => return field,
        };
        let mut metadata = std::collections::HashMap::new();
        metadata.insert(EXTENSION_NAME.to_owned(), extension.to_owned());
        if matches!(extension, JSON_EXTENSION | UUID_EXTENSION) {
            metadata.insert(EXTENSION_METADATA.to_owned(), String::new());
        }
        field.with_metadata(metadata)
    }
}

/// The field of an array's elements.
pub(crate) fn element_field(element: &PgType) -> Field {
    let field = element.to_field(LIST_ITEM);
    match &element.shape {
        // To Arrow it would look like one more dimension.
        Shape::Array { lower_bound, .. } if *lower_bound != 0 => {
            field.with_metadata([(EXTENSION_NAME.to_owned(), ARRAY_EXTENSION.to_owned())].into())
        }
        _ => field,
    }
}

/// The range type that a multirange over `element` is a list of.
pub(crate) fn range_of(element: &PgType) -> PgType {
    PgType::new(
        format!("range of {}", element.name),
        Shape::Range {
            element: Box::new(element.clone()),
        },
    )
    .with_views(element.views)
}

/// The fields of a range: its bounds, NULL where it has none; whether each is included; whether it
/// is empty, and then has no bounds.
pub(crate) fn range_fields(element: &PgType) -> Fields {
    vec![
        element.to_field("lower"),
        element.to_field("upper"),
        Field::new("lower_inclusive", DataType::Boolean, false),
        Field::new("upper_inclusive", DataType::Boolean, false),
        Field::new("empty", DataType::Boolean, false),
    ]
    .into()
}

/// The entries of an hstore: keys are never NULL, values may be.
pub(crate) fn hstore_entries() -> Field {
    Field::new("entries", DataType::Struct(hstore_fields()), false)
}

pub(crate) fn hstore_fields() -> Fields {
    vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::Utf8, true),
    ]
    .into()
}
fn decimal_type(precision: u8, scale: u8) -> DataType {
    // The scale is at most the precision, so at most 76: the cast keeps it.
    match precision <= DECIMAL128_PRECISION {
        true => DataType::Decimal128(precision, scale as i8),
        false => DataType::Decimal256(precision, scale as i8),
    }
}
