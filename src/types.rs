//! The one table of PostgreSQL types and the Arrow types they become.
//!
//! | PostgreSQL | Arrow | notes |
//! |---|---|---|
//! | `bool` | `Boolean` | |
//! | `int2` | `Int16` | |
//! | `int4` | `Int32` | |
//! | `int8` | `Int64` | |
//! | `oid` | `UInt32` | up to 4294967295 |
//! | `xid` | `UInt32` | |
//! | `cid` | `UInt32` | |
//! | `xid8` | `UInt64` | |
//! | `float4` | `Float32` | NaN, infinities and -0 as they are |
//! | `float8` | `Float64` | NaN, infinities and -0 as they are |
//! | `numeric` | `Decimal128(38, 20)` | [`NumericAs`] changes it; a value that does not fit exactly is an error |
//! | `"char"` | `Utf8` | one byte; above 127 as PostgreSQL 16 prints it: `\377` |
//! | `name` | `Utf8` | |
//! | `text` | `Utf8` | |
//! | `varchar` | `Utf8` | |
//! | `bpchar` | `Utf8` | with its trailing blanks, as psql shows it |
//! | `xml` | `Utf8` | |
//! | `json` | `Utf8` | extension `arrow.json` |
//! | `jsonb` | `Utf8` | extension `arrow.json`; PostgreSQL's own spacing |
//! | `jsonpath` | `Utf8` | |
//! | `bytea` | `Binary` | |
//! | `uuid` | `FixedSizeBinary(16)` | extension `arrow.uuid` |
//! | `date` | `Date32` | days since 1970-01-01; `infinity` is unrepresentable |
//! | `time` | `Time64(µs)` | microseconds since midnight; `24:00` is unrepresentable |
//! | `timetz` | `Utf8` | |
//! | `timestamp` | `Timestamp(µs)` | microseconds since 1970-01-01 00:00, no zone; `infinity` and years beyond 294246 are unrepresentable |
//! | `timestamptz` | `Timestamp(µs, "UTC")` | an instant; likewise |
//! | `interval` | `Interval(MonthDayNano)` | more than 292 years of time part, and `infinity`, are unrepresentable |
//! | `inet` | `Utf8` | |
//! | `cidr` | `Utf8` | |
//! | `macaddr` | `Utf8` | |
//! | `macaddr8` | `Utf8` | |
//! | `bit` | `Utf8` | `0` and `1`, one for each bit |
//! | `varbit` | `Utf8` | likewise |
//! | `pg_lsn` | `Utf8` | |
//! | `refcursor` | `Utf8` | |
//! | `int2vector` | `List(Int16)` | |
//! | `oidvector` | `List(UInt32)` | |
//! | `numeric(p,s)` | `Decimal128(p, s)` | `Decimal256` where p > 38; NaN and infinity are unrepresentable |
//! | enum | `Dictionary(Int32, Utf8)` | the dictionary has every label, in the order of the type |
//! | domain | as its base type | |
//! | array | `List`, nested by dimension | a lower bound other than 1, or another number of dimensions than the column declares, is unrepresentable |
//! | composite | `Struct` | |
//! | range | `Struct(lower, upper, lower_inclusive, upper_inclusive, empty)` | extension `merganser.range`; a NULL bound is unbounded |
//! | multirange | `List` of range | extension `merganser.multirange` |
//! | `hstore` | `Map(Utf8, Utf8)` | |
//! | `vector` (pgvector) | `FixedSizeList(Float32)` | extension `merganser.vector`; `List` where no dimension is declared |
//! | `geometry`, `geography` (PostGIS) | `Binary` | EWKB, extension `geoarrow.wkb` |
//! | `citext` | `Utf8` | |
//! | any other | `Utf8` | its text, cast on the server; so is an array or composite that holds such a type |
//!
//! Every field is nullable: PostgreSQL's protocol does not say more. What Arrow cannot hold is
//! called *unrepresentable* here, and is an error unless [`Unrepresentable`] says otherwise.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use tokio_postgres::types::{Kind, Type};

use crate::error::{Error, ErrorKind, Result};

/// The key of a field's metadata that names its extension type (Arrow columnar format,
/// "Extension types").
pub const EXTENSION_NAME: &str = "ARROW:extension:name";
/// The key of a field's metadata that holds the parameters of its extension type.
pub const EXTENSION_METADATA: &str = "ARROW:extension:metadata";
/// The extension name of a range: a struct of its bounds.
pub const RANGE_EXTENSION: &str = "merganser.range";
/// The extension name of a multirange: a list of ranges.
pub const MULTIRANGE_EXTENSION: &str = "merganser.multirange";
/// The extension name of a pgvector `vector`.
pub const VECTOR_EXTENSION: &str = "merganser.vector";
/// The key of a field's metadata that names the PostgreSQL type of a column that is read as its
/// text.
pub const POSTGRES_TYPE: &str = "merganser.postgres_type";

/// How a `numeric` becomes an Arrow value where its column declares no precision and scale.
///
/// The protocol does not tell the scale of `sum(x)` or `a * b`, so one has to be chosen before the
/// first row. Columns declared `numeric(p,s)` keep that under [`Decimal`](Self::Decimal).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NumericAs {
    /// `Decimal128(precision, scale)`, or `Decimal256` where the precision is above 38. A value
    /// that would have to be rounded, or that is too large, is an error.
    Decimal {
        /// Digits in all, 1 to 76.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// `Utf8`, the digits as PostgreSQL prints them. NaN and infinity are representable.
    Text,
    /// `Float64`, rounded to the nearest double. NaN and infinity are representable.
    Float64,
}

impl Default for NumericAs {
    fn default() -> Self {
        Self::Decimal {
            precision: 38,
            scale: 20,
        }
    }
}

impl FromStr for NumericAs {
    type Err = Error;

    /// Reads `decimal(p,s)`, `text` or `float64`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(
                ErrorKind::Config,
                format!("invalid numeric option {text:?}"),
            )
            .with_hint("write decimal(p,s) with 1 <= p <= 76 and s <= p, text, or float64")
        };
        match text.trim() {
            "text" => Ok(Self::Text),
            "float64" => Ok(Self::Float64),
            other => {
                let (precision, scale) = other
                    .strip_prefix("decimal(")
                    .and_then(|rest| rest.strip_suffix(')'))
                    .and_then(|rest| rest.split_once(','))
                    .and_then(|(p, s)| Some((p.trim().parse().ok()?, s.trim().parse().ok()?)))
                    .ok_or_else(invalid)?;
                if precision == 0 || precision > DECIMAL256_PRECISION || scale > precision {
                    return Err(invalid());
                }
                Ok(Self::Decimal { precision, scale })
            }
        }
    }
}

/// What becomes of a value that its Arrow type cannot hold: numeric NaN and infinity, infinite
/// dates and timestamps, `24:00`, an interval or year out of range, an array with a lower bound
/// other than 1 or with other dimensions than declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Unrepresentable {
    /// An error that names the column and the row.
    #[default]
    Error,
    /// NULL.
    Null,
    /// Columns of types that have such values become `Utf8`, PostgreSQL's text of every value.
    Text,
}

impl FromStr for Unrepresentable {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "error" => Ok(Self::Error),
            "null" => Ok(Self::Null),
            "text" => Ok(Self::Text),
            _ => Err(Error::new(
                ErrorKind::Config,
                format!("invalid option for unrepresentable values {text:?}"),
            )
            .with_hint("write error, null or text")),
        }
    }
}

/// The choices that the mapping of types leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TypeOptions {
    /// Unconstrained `numeric`.
    pub numeric: NumericAs,
    /// Values that Arrow cannot hold.
    pub unrepresentable: Unrepresentable,
}

/// One column of a result: its name as PostgreSQL gives it (names may repeat) and its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The name; not necessarily unique, `?column?` for an unnamed expression.
    pub name: String,
    /// The type, with everything that decides its Arrow type.
    pub pg_type: PgType,
}

impl Column {
    /// A column of this name and type.
    pub fn new(name: impl Into<String>, pg_type: PgType) -> Self {
        Self {
            name: name.into(),
            pg_type,
        }
    }

    /// The Arrow field: nullable, with the metadata of its extension type.
    pub fn to_field(&self) -> Field {
        self.pg_type.to_field(&self.name)
    }

    /// The expression that a shard query selects for this column, which it knows as `reference`:
    /// a cast to text for types that are read as their text.
    pub(crate) fn select_expression(&self, reference: &str) -> String {
        match self.pg_type.shape {
            Shape::Cast => format!("{reference}::text"),
            _ => reference.to_owned(),
        }
    }
}

/// A PostgreSQL type as a result column has it: what SQL calls it, and how its binary form is read.
///
/// Two types are equal when name and form are; OIDs, which differ between databases for types that
/// users make, play no part.
#[derive(Debug, Clone, PartialEq)]
pub struct PgType {
    name: String,
    pub(crate) shape: Shape,
}

/// How the binary form of a type is read, which decides its Arrow type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Bool,
    Int2,
    Int4,
    Int8,
    /// `oid`, `xid`, `cid`: four bytes, unsigned.
    Oid,
    Xid8,
    Float4,
    Float8,
    /// `numeric` without precision and scale, until options are applied.
    Numeric,
    Decimal {
        precision: u8,
        scale: u8,
    },
    NumericText,
    NumericFloat,
    /// `"char"`.
    Char,
    /// The bytes are the text, behind `version` where the form starts with a version byte.
    Text {
        version: Option<u8>,
        json: bool,
    },
    Bytea,
    Geometry,
    Uuid,
    Date,
    Time,
    TimeTz,
    Timestamp {
        utc: bool,
    },
    Interval,
    Inet {
        cidr: bool,
    },
    MacAddr,
    Bit,
    Lsn,
    Enum {
        labels: Arc<[String]>,
    },
    /// `lower_bound` is what every dimension has to start at.
    Array {
        element: Box<PgType>,
        dimensions: usize,
        lower_bound: i32,
    },
    Composite {
        fields: Vec<Column>,
    },
    Range {
        element: Box<PgType>,
    },
    Multirange {
        element: Box<PgType>,
    },
    Hstore,
    Vector {
        dimensions: Option<i32>,
    },
    /// No binary form that we read: cast to text on the server.
    Cast,
}

/// The names and numbers that PostgreSQL's catalog gives beside a type, looked up by OID.
///
/// `Type` of the client library knows the shape of a user's types but not their type modifiers;
/// `numeric(10,2)` inside a composite is `numeric` to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TypeModifiers {
    /// By OID of the composite type: (type modifier, dimensions) of each field.
    pub(crate) composites: std::collections::HashMap<u32, Vec<(i32, i32)>>,
    /// By OID of the domain: (type modifier, dimensions) of its base type.
    pub(crate) domains: std::collections::HashMap<u32, (i32, i32)>,
}

impl PgType {
    fn new(name: impl Into<String>, shape: Shape) -> Self {
        Self {
            name: name.into(),
            shape,
        }
    }

    /// What SQL calls the type: `numeric(15,2)`, `text[]`, `sales.mood`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name, and what else tells the type from others of that name, for a message.
    pub(crate) fn details(&self) -> String {
        match &self.shape {
            Shape::Enum { labels } => format!("{} (enum: {})", self.name, labels.join(", ")),
            Shape::Composite { fields } => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|field| format!("{} {}", field.name, field.pg_type.details()))
                    .collect();
                format!("{} (composite: {})", self.name, fields.join(", "))
            }
            _ => self.name.clone(),
        }
    }

    /// The type that the client library and the catalog describe.
    ///
    /// `modifier` is the column's type modifier (-1: none), `dimensions` what the column declares
    /// for an array (0 or less: unknown, taken as 1).
    pub(crate) fn from_catalog(
        oid_type: &Type,
        modifier: i32,
        dimensions: i32,
        modifiers: &TypeModifiers,
    ) -> Self {
        let name = qualified_name(oid_type);
        match oid_type.kind() {
            Kind::Enum(labels) => Self::new(
                name,
                Shape::Enum {
                    labels: labels.clone().into(),
                },
            ),
            Kind::Array(element) => {
                // A domain over an array, or an array of such a domain, keeps its own dimensions.
                let element = Self::from_catalog(element, modifier, 0, modifiers);
                Self::array(element, usize::try_from(dimensions).unwrap_or(0).max(1))
            }
            Kind::Domain(base) => {
                let (modifier, dimensions) =
                    *modifiers.domains.get(&oid_type.oid()).unwrap_or(&(-1, 0));
                Self::from_catalog(base, modifier, dimensions, modifiers)
            }
            Kind::Composite(fields) => {
                let known = modifiers.composites.get(&oid_type.oid());
                let fields = fields
                    .iter()
                    .enumerate()
                    .map(|(index, field)| {
                        let (modifier, dimensions) = known
                            .and_then(|known| known.get(index).copied())
                            .unwrap_or((-1, 0));
                        Column::new(
                            field.name(),
                            Self::from_catalog(field.type_(), modifier, dimensions, modifiers),
                        )
                    })
                    .collect();
                Self::new(name, Shape::Composite { fields })
            }
            Kind::Range(element) => Self::new(
                name,
                Shape::Range {
                    element: Box::new(Self::from_catalog(element, -1, 0, modifiers)),
                },
            ),
            Kind::Multirange(element) => Self::new(
                name,
                Shape::Multirange {
                    element: Box::new(Self::from_catalog(element, -1, 0, modifiers)),
                },
            ),
            _ => Self::base(oid_type.schema(), oid_type.name(), modifier)
                .unwrap_or_else(|| Self::new(name, Shape::Cast)),
        }
    }

    /// An array of `element` with this many dimensions.
    fn array(element: Self, dimensions: usize) -> Self {
        Self::new(
            format!("{}{}", element.name, "[]".repeat(dimensions)),
            Shape::Array {
                element: Box::new(element),
                dimensions,
                lower_bound: 1,
            },
        )
    }

    /// A type that is no array, enum, domain, composite or range, by schema and name.
    fn base(schema: &str, name: &str, modifier: i32) -> Option<Self> {
        if schema != "pg_catalog" {
            let shape = match name {
                "hstore" => Shape::Hstore,
                "citext" => Shape::Text {
                    version: None,
                    json: false,
                },
                "ltree" | "lquery" | "ltxtquery" => Shape::Text {
                    version: Some(1),
                    json: false,
                },
                "vector" => Shape::Vector {
                    dimensions: (modifier > 0).then_some(modifier),
                },
                "geometry" | "geography" => Shape::Geometry,
                _ => return None,
            };
            return Some(Self::new(name, shape));
        }
        let builtin = BUILTINS.iter().find(|builtin| builtin.name == name)?;
        let shape = (builtin.shape)();
        Some(match (shape, numeric_modifier(modifier)) {
            (Shape::Numeric, Some((precision, scale))) => Self::numeric(precision, scale),
            (shape, _) => Self::new(name, shape),
        })
    }

    /// `numeric(precision,scale)` as declared; PostgreSQL allows 1..=1000 and -1000..=1000.
    fn numeric(precision: i32, scale: i32) -> Self {
        let name = format!("numeric({precision},{scale})");
        // A negative scale only means trailing zeros before the point; a scale above the precision
        // only zeros behind it. Arrow wants 0 <= scale <= precision, and so does Parquet.
        let arrow_scale = scale.max(0);
        let arrow_precision = (precision - scale.min(0)).max(arrow_scale);
        match (u8::try_from(arrow_precision), u8::try_from(arrow_scale)) {
            (Ok(precision), Ok(scale)) if precision <= DECIMAL256_PRECISION => {
                Self::new(name, Shape::Decimal { precision, scale })
            }
            // More digits than any Arrow decimal has: as if nothing were declared.
            _ => Self::new(name, Shape::Numeric),
        }
    }

    /// Applies the options, and turns types that hold a part without binary form into their text.
    #[must_use]
    pub(crate) fn with_options(self, options: &TypeOptions) -> Self {
        let name = self.name.clone();
        match self.apply(options) {
            Some(resolved) => resolved,
            None => Self::new(name, Shape::Cast),
        }
    }

    /// `None`: the whole type has to be read as text.
    fn apply(self, options: &TypeOptions) -> Option<Self> {
        let as_text = options.unrepresentable == Unrepresentable::Text;
        let shape = match self.shape {
            Shape::Cast => return None,
            Shape::Numeric | Shape::Decimal { .. } if as_text => Shape::NumericText,
            Shape::Numeric => match options.numeric {
                NumericAs::Decimal { precision, scale } => Shape::Decimal { precision, scale },
                NumericAs::Text => Shape::NumericText,
                NumericAs::Float64 => Shape::NumericFloat,
            },
            Shape::Date | Shape::Time | Shape::Timestamp { .. } | Shape::Interval if as_text => {
                return None;
            }
            Shape::Array { .. } if as_text => return None,
            Shape::Array {
                element,
                dimensions,
                lower_bound,
            } => Shape::Array {
                element: Box::new(element.apply(options)?),
                dimensions,
                lower_bound,
            },
            Shape::Composite { fields } => Shape::Composite {
                fields: fields
                    .into_iter()
                    .map(|field| Some(Column::new(field.name, field.pg_type.apply(options)?)))
                    .collect::<Option<_>>()?,
            },
            Shape::Range { element } => Shape::Range {
                element: Box::new(element.apply(options)?),
            },
            Shape::Multirange { element } => Shape::Multirange {
                element: Box::new(element.apply(options)?),
            },
            other => other,
        };
        Some(Self::new(self.name, shape))
    }

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
            Shape::NumericText
            | Shape::Char
            | Shape::Text { .. }
            | Shape::TimeTz
            | Shape::Inet { .. }
            | Shape::MacAddr
            | Shape::Bit
            | Shape::Lsn
            | Shape::Cast => DataType::Utf8,
            Shape::Bytea | Shape::Geometry => DataType::Binary,
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
                DataType::List(Arc::new(element.to_field(LIST_ITEM))),
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
            Shape::Uuid => "arrow.uuid",
            Shape::Text { json: true, .. } => "arrow.json",
            Shape::Geometry => "geoarrow.wkb",
            Shape::Range { .. } => RANGE_EXTENSION,
            Shape::Multirange { .. } => MULTIRANGE_EXTENSION,
            Shape::Vector { .. } => VECTOR_EXTENSION,
            Shape::Cast | Shape::NumericText => {
                return field.with_metadata([(POSTGRES_TYPE.to_owned(), self.name.clone())].into());
            }
            _ => return field,
        };
        let mut metadata = std::collections::HashMap::new();
        metadata.insert(EXTENSION_NAME.to_owned(), extension.to_owned());
        if matches!(extension, "arrow.json" | "arrow.uuid") {
            metadata.insert(EXTENSION_METADATA.to_owned(), String::new());
        }
        field.with_metadata(metadata)
    }
}

impl fmt::Display for PgType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FromStr for PgType {
    type Err = Error;

    /// Reads the name of a built-in type as PostgreSQL's catalog spells it (`int4`, not
    /// `integer`), with `(precision,scale)` behind `numeric` and `[]` for each dimension of an
    /// array; `numeric` alone takes the default of [`NumericAs`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for any other name.
    fn from_str(text: &str) -> Result<Self> {
        let element_name = text.trim_end_matches("[]");
        let dimensions = (text.len() - element_name.len()) / 2;
        let unknown = || {
            Error::new(ErrorKind::Config, format!("unknown type {text:?}"))
                .with_hint("name a built-in type as pg_type does: int4, numeric(10,2), text[]")
        };
        let element = match element_name
            .strip_prefix("numeric(")
            .and_then(|rest| rest.strip_suffix(')'))
        {
            Some(arguments) => {
                let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
                let precision = precision.trim().parse().map_err(|_| unknown())?;
                let scale = scale.trim().parse().map_err(|_| unknown())?;
                if !(1..=1000).contains(&precision) || !(-1000..=1000).contains(&scale) {
                    return Err(unknown());
                }
                Self::numeric(precision, scale)
            }
            None => Self::builtin_range(element_name)
                .or_else(|| Self::base("pg_catalog", element_name, -1))
                .ok_or_else(unknown)?,
        };
        let named = match dimensions {
            0 => element,
            dimensions => Self::array(element, dimensions),
        };
        Ok(named.with_options(&TypeOptions::default()))
    }
}

impl PgType {
    /// `int4range`, `int4multirange` and the other built-in ranges.
    fn builtin_range(name: &str) -> Option<Self> {
        let (range, multi) = match name.strip_suffix("multirange") {
            Some(stem) => (format!("{stem}range"), true),
            None => (name.to_owned(), false),
        };
        let element = match range.as_str() {
            "int4range" => "int4",
            "int8range" => "int8",
            "numrange" => "numeric",
            "daterange" => "date",
            "tsrange" => "timestamp",
            "tstzrange" => "timestamptz",
            _ => return None,
        };
        let element = Box::new(Self::base("pg_catalog", element, -1)?);
        Some(Self::new(
            name,
            match multi {
                true => Shape::Multirange { element },
                false => Shape::Range { element },
            },
        ))
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

/// The name of the field within a list that the Arrow specification recommends.
pub(crate) const LIST_ITEM: &str = "item";

/// The most digits that `Decimal128` and `Decimal256` have.
pub(crate) const DECIMAL128_PRECISION: u8 = 38;
pub(crate) const DECIMAL256_PRECISION: u8 = 76;

fn decimal_type(precision: u8, scale: u8) -> DataType {
    // The scale is at most the precision, so at most 76: the cast keeps it.
    match precision <= DECIMAL128_PRECISION {
        true => DataType::Decimal128(precision, scale as i8),
        false => DataType::Decimal256(precision, scale as i8),
    }
}

/// Precision and scale in a type modifier of `numeric`; `None` for -1.
/// Source: `src/backend/utils/adt/numeric.c`, `make_numeric_typmod`.
fn numeric_modifier(modifier: i32) -> Option<(i32, i32)> {
    const HEADER: i32 = 4;
    (modifier >= HEADER).then(|| {
        let packed = modifier - HEADER;
        ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024)
    })
}

fn qualified_name(oid_type: &Type) -> String {
    match oid_type.schema() {
        "pg_catalog" | "public" => oid_type.name().to_owned(),
        schema => format!("{schema}.{}", oid_type.name()),
    }
}

struct Builtin {
    name: &'static str,
    shape: fn() -> Shape,
}

const fn builtin(name: &'static str, shape: fn() -> Shape) -> Builtin {
    Builtin { name, shape }
}

const fn text() -> Shape {
    Shape::Text {
        version: None,
        json: false,
    }
}

/// Every type of `pg_catalog` whose binary form we read, by its name there.
const BUILTINS: &[Builtin] = &[
    builtin("bool", || Shape::Bool),
    builtin("int2", || Shape::Int2),
    builtin("int4", || Shape::Int4),
    builtin("int8", || Shape::Int8),
    builtin("oid", || Shape::Oid),
    builtin("xid", || Shape::Oid),
    builtin("cid", || Shape::Oid),
    builtin("xid8", || Shape::Xid8),
    builtin("float4", || Shape::Float4),
    builtin("float8", || Shape::Float8),
    builtin("numeric", || Shape::Numeric),
    builtin("\"char\"", || Shape::Char),
    builtin("char", || Shape::Char),
    builtin("name", text),
    builtin("text", text),
    builtin("varchar", text),
    builtin("bpchar", text),
    builtin("xml", text),
    builtin("json", || Shape::Text {
        version: None,
        json: true,
    }),
    builtin("jsonb", || Shape::Text {
        version: Some(1),
        json: true,
    }),
    builtin("jsonpath", || Shape::Text {
        version: Some(1),
        json: false,
    }),
    builtin("bytea", || Shape::Bytea),
    builtin("uuid", || Shape::Uuid),
    builtin("date", || Shape::Date),
    builtin("time", || Shape::Time),
    builtin("timetz", || Shape::TimeTz),
    builtin("timestamp", || Shape::Timestamp { utc: false }),
    builtin("timestamptz", || Shape::Timestamp { utc: true }),
    builtin("interval", || Shape::Interval),
    builtin("inet", || Shape::Inet { cidr: false }),
    builtin("cidr", || Shape::Inet { cidr: true }),
    builtin("macaddr", || Shape::MacAddr),
    builtin("macaddr8", || Shape::MacAddr),
    builtin("bit", || Shape::Bit),
    builtin("varbit", || Shape::Bit),
    builtin("pg_lsn", || Shape::Lsn),
    builtin("refcursor", text),
    builtin("int2vector", || vector_of("int2", Shape::Int2)),
    builtin("oidvector", || vector_of("oid", Shape::Oid)),
];

/// `int2vector` and `oidvector`: arrays in form, but always from index 0.
fn vector_of(name: &str, shape: Shape) -> Shape {
    Shape::Array {
        element: Box::new(PgType::new(name, shape)),
        dimensions: 1,
        lower_bound: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let source = include_str!("types.rs");
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
        // Beside the built-in types: numeric(p,s), hstore, vector, geometry, citext.
        assert_eq!(documented, BUILTINS.len() - 1 + 5);
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
        assert_eq!(Column::new("a", array).select_expression("c1"), "c1::text");
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
}
