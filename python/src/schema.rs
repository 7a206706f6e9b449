//! What the columns of an answer are called and of which type they are.

use merganser::arrow::datatypes::{DataType, Field, IntervalUnit, SchemaRef, TimeUnit};
use merganser::types::{
    Column, EXTENSION_NAME, JSON_EXTENSION, MULTIRANGE_EXTENSION, POSTGRES_TYPE, RANGE_EXTENSION,
    UUID_EXTENSION, VECTOR_EXTENSION, WKB_EXTENSION,
};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::capsule;

/// What SQL calls the types of the columns; `None` where only Arrow's types are known, because every
/// shard has described the query and not the planner.
pub(crate) type Types = Option<Vec<String>>;

/// The types that the planner found.
pub(crate) fn types_of(columns: &[Column]) -> Types {
    let names = columns
        .iter()
        .map(|column| column.pg_type.name().to_owned());
    Some(names.collect())
}

/// Names and types of the columns of an answer.
#[pyclass(frozen, module = "merganser._merganser")]
pub(crate) struct Schema {
    schema: SchemaRef,
    types: Types,
}

impl Schema {
    pub(crate) fn new(schema: SchemaRef, types: Types) -> Self {
        Self { schema, types }
    }
}

#[pymethods]
impl Schema {
    /// The names; they may repeat.
    #[getter]
    fn names(&self) -> Vec<String> {
        let fields = self.schema.fields().iter();
        fields.map(|field| field.name().clone()).collect()
    }

    /// Name, PostgreSQL's type and Arrow's type of each column.
    #[getter]
    pub(crate) fn columns(&self) -> Vec<(String, String, String)> {
        let fields = self.schema.fields().iter().enumerate();
        fields
            .map(|(index, field)| {
                let known = self.types.as_ref().and_then(|types| types.get(index));
                let pg_type = known.cloned().unwrap_or_else(|| pg_type(field));
                (field.name().clone(), pg_type, field.data_type().to_string())
            })
            .collect()
    }

    fn __len__(&self) -> usize {
        self.schema.fields().len()
    }

    fn __repr__(&self) -> String {
        let columns: Vec<_> = self
            .columns()
            .into_iter()
            .map(|(name, pg_type, _)| format!("{name} {pg_type}"))
            .collect();
        format!("<merganser.Schema ({})>", columns.join(", "))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        capsule::schema(py, &self.schema)
    }
}

/// A type of PostgreSQL whose values are read as this field, as the library names types: the usual one,
/// where there are several.
fn pg_type(field: &Field) -> String {
    if let Some(name) = field.metadata().get(POSTGRES_TYPE) {
        return name.clone();
    }
    let extension = field.metadata().get(EXTENSION_NAME).map(String::as_str);
    let name = match (extension, field.data_type()) {
        (Some(UUID_EXTENSION), _) => "uuid",
        (Some(JSON_EXTENSION), _) => "json",
        (Some(WKB_EXTENSION), _) => "geometry",
        (Some(VECTOR_EXTENSION), _) => "vector",
        (Some(RANGE_EXTENSION), _) => "anyrange",
        (Some(MULTIRANGE_EXTENSION), _) => "anymultirange",
        (_, DataType::Boolean) => "bool",
        (_, DataType::Int16) => "int2",
        (_, DataType::Int32) => "int4",
        (_, DataType::Int64) => "int8",
        (_, DataType::UInt32) => "oid",
        (_, DataType::UInt64) => "xid8",
        (_, DataType::Float32) => "float4",
        (_, DataType::Float64) => "float8",
        (_, DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale)) => {
            return format!("numeric({precision},{scale})");
        }
        (_, DataType::Binary | DataType::BinaryView) => "bytea",
        (_, DataType::Date32) => "date",
        (_, DataType::Time64(_)) => "time",
        (_, DataType::Timestamp(TimeUnit::Microsecond, None)) => "timestamp",
        (_, DataType::Timestamp(TimeUnit::Microsecond, Some(_))) => "timestamptz",
        (_, DataType::Interval(IntervalUnit::MonthDayNano)) => "interval",
        (_, DataType::Dictionary(..)) => "enum",
        (_, DataType::Map(..)) => "hstore",
        (_, DataType::Struct(_)) => "record",
        (_, DataType::List(item) | DataType::FixedSizeList(item, _)) => {
            return match item.data_type() {
                // The dimensions of one array.
                DataType::List(_) if item.metadata().is_empty() => pg_type(item),
                _ => format!("{}[]", pg_type(item)),
            };
        }
        _ => "text",
    };
    name.to_owned()
}
