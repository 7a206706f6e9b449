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
//! | `timetz` | `Utf8` | its name in the field's metadata, [`POSTGRES_TYPE`] |
//! | `timestamp` | `Timestamp(µs)` | microseconds since 1970-01-01 00:00, no zone; `infinity` and years beyond 294246 are unrepresentable |
//! | `timestamptz` | `Timestamp(µs, "UTC")` | an instant; likewise |
//! | `interval` | `Interval(MonthDayNano)` | [`IntervalAs`] changes it; more than 292 years of time part, and `infinity`, are unrepresentable |
//! | `inet` | `Utf8` | |
//! | `cidr` | `Utf8` | |
//! | `macaddr` | `Utf8` | |
//! | `macaddr8` | `Utf8` | |
//! | `bit` | `Utf8` | `0` and `1`, one for each bit |
//! | `varbit` | `Utf8` | likewise |
//! | `pg_lsn` | `Utf8` | |
//! | `refcursor` | `Utf8` | |
//! | `int2vector` | `List(Int16)` | extension `merganser.catalog_vector` |
//! | `oidvector` | `List(UInt32)` | extension `merganser.catalog_vector` |
//! | `numeric(p,s)` | `Decimal128(p, s)` | `Decimal256` where p > 38; NaN and infinity are unrepresentable |
//! | `numeric(p,-s)` | as `numeric(p+s,0)` | few readers know a negative scale |
//! | `numeric(p,s)`, s > p | as `numeric(s,s)` | only zeros come first behind the point |
//! | `numeric(p,s)` of more than 76 digits | as `numeric` | also where the two rows above lead to more; [`NumericAs`] changes it |
//! | enum | `Dictionary(Int32, Utf8)` | the dictionary has every label, in the order of the type |
//! | domain | as its base type | |
//! | array | `List`, nested by dimension | a lower bound other than 1, or another number of dimensions than the column declares, is unrepresentable; an array inside an array, by way of a domain, has extension `merganser.array` |
//! | composite | `Struct` | |
//! | range | `Struct(lower, upper, lower_inclusive, upper_inclusive, empty)` | extension `merganser.range`; a NULL bound is unbounded |
//! | multirange | `List` of range | extension `merganser.multirange`; of a range that users made: its text |
//! | `hstore` | `Map(Utf8, Utf8)` | from a database in another encoding than UTF8, text that is not ASCII is an error |
//! | `vector` (pgvector) | `FixedSizeList(Float32)` | extension `merganser.vector`; `List` where no dimension is declared |
//! | `geometry`, `geography` (PostGIS) | `Binary` | EWKB, extension `geoarrow.wkb` |
//! | `citext` | `Utf8` | |
//! | any other | `Utf8` | its text, made by the server; so is an array or composite that holds such a type |
//!
//! `Utf8` and `Binary` are `Utf8View` and `BinaryView` if [`TextAs`] says so.
//!
//! Every field is nullable: PostgreSQL's protocol does not say more. What Arrow cannot hold is
//! called *unrepresentable* here, and is an error unless [`Unrepresentable`] says otherwise.

mod catalog;
mod mapping;
mod options;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;

pub(crate) use self::catalog::TypeModifiers;
pub(crate) use self::mapping::{
    element_field, hstore_entries, hstore_fields, range_fields, range_of,
};
pub use self::options::{IntervalAs, NumericAs, TextAs, TypeOptions, Unrepresentable};

/// The key of a field's metadata that names its extension type (Arrow columnar format,
/// "Extension types").
pub const EXTENSION_NAME: &str = "ARROW:extension:name";
/// The key of a field's metadata that holds the parameters of its extension type.
pub const EXTENSION_METADATA: &str = "ARROW:extension:metadata";
/// The extension name of a `uuid`, one of Arrow's own.
pub const UUID_EXTENSION: &str = "arrow.uuid";
/// The extension name of `json` and `jsonb`, one of Arrow's own.
pub const JSON_EXTENSION: &str = "arrow.json";
/// The extension name of PostGIS's `geometry` and `geography`, of GeoArrow.
pub const WKB_EXTENSION: &str = "geoarrow.wkb";
/// The extension name of a range: a struct of its bounds.
pub const RANGE_EXTENSION: &str = "merganser.range";
/// The extension name of a multirange: a list of ranges.
pub const MULTIRANGE_EXTENSION: &str = "merganser.multirange";
/// The extension name of a pgvector `vector`.
pub const VECTOR_EXTENSION: &str = "merganser.vector";
/// The extension name of an `int2vector` or `oidvector`: a list that PostgreSQL prints without
/// braces.
pub const CATALOG_VECTOR_EXTENSION: &str = "merganser.catalog_vector";
/// The extension name of an array that is an element of another array, by way of a domain, and not
/// a dimension of it.
pub const ARRAY_EXTENSION: &str = "merganser.array";
/// The key of a field's metadata that names the PostgreSQL type of a column that is read as its
/// text, where that is not a text already: `numeric` as text, `timetz`, and any type that has no
/// Arrow type.
pub const POSTGRES_TYPE: &str = "merganser.postgres_type";

/// Whether the values of a text field are numbers: a `numeric` that is read as its text.
pub(crate) fn holds_numeric_text(field: &Field) -> bool {
    field.metadata().get(POSTGRES_TYPE).is_some_and(|name| {
        name == "numeric" || name.starts_with("numeric(") && name.ends_with(')')
    })
}

/// The name of the field within a list that the Arrow specification recommends.
pub(crate) const LIST_ITEM: &str = "item";

/// The most digits that `Decimal128` and `Decimal256` have.
pub(crate) const DECIMAL128_PRECISION: u8 = 38;
pub(crate) const DECIMAL256_PRECISION: u8 = 76;
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
    /// for types that are read as their text, what the type's output function gives.
    ///
    /// `format` calls that function, where a cast to text may be one that a user has made, or, as
    /// for `inet`, differs. It prints NULL as nothing, and `IS NULL` is true of a row of NULLs.
    pub(crate) fn select_expression(&self, reference: &str) -> String {
        match self.pg_type.shape {
            Shape::Cast => format!(
                "CASE WHEN pg_catalog.num_nulls({reference}) = 0 \
                 THEN pg_catalog.format('%s', {reference}) END"
            ),
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
    /// Whether text and bytes are read as views.
    pub(crate) views: bool,
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
    /// `finite`: NaN and infinity are unrepresentable.
    NumericText {
        finite: bool,
    },
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

impl PgType {
    fn new(name: impl Into<String>, shape: Shape) -> Self {
        Self {
            name: name.into(),
            shape,
            views: false,
        }
    }

    fn with_views(self, views: bool) -> Self {
        Self { views, ..self }
    }

    /// Types that users make, and extensions, for fuzzing.
    #[cfg(fuzzing)]
    pub(crate) fn made() -> Vec<Self> {
        let known = |name: &str| name.parse::<Self>().expect("a known type");
        let composite = |fields: Vec<Self>| {
            let fields = fields.into_iter().enumerate();
            let fields = fields.map(|(at, field)| Column::new(format!("f{at}"), field));
            let fields = fields.collect();
            Self::new("pair", Shape::Composite { fields })
        };
        let array = |element: &Self, dimensions| {
            let element = Box::new(element.clone());
            let lower_bound = 1;
            Self::new(
                "array",
                Shape::Array {
                    element,
                    dimensions,
                    lower_bound,
                },
            )
        };
        let labels = ["sad", "so so", "happy"].map(str::to_owned);
        let mood = Self::new(
            "mood",
            Shape::Enum {
                labels: Arc::new(labels),
            },
        );
        let pair = composite(vec![known("int4"), known("text")]);
        let deep = composite(vec![
            pair.clone(),
            array(&pair, 1),
            mood.clone(),
            known("numeric(10,2)"),
        ]);
        let element = Box::new(known("text"));
        vec![
            array(&mood, 1),
            array(&pair, 2),
            array(&deep, 1),
            mood,
            pair,
            deep,
            composite(Vec::new()),
            Self::new(
                "textrange",
                Shape::Range {
                    element: element.clone(),
                },
            ),
            Self::new("textmultirange", Shape::Multirange { element }),
            Self::new("hstore", Shape::Hstore),
            Self::new("vector", Shape::Vector { dimensions: None }),
            Self::new(
                "vector(3)",
                Shape::Vector {
                    dimensions: Some(3),
                },
            ),
            Self::new("geometry", Shape::Geometry),
        ]
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

    #[cfg(feature = "datafusion")]
    pub(crate) fn bytea() -> Self {
        Self::new("bytea", Shape::Bytea)
    }

    #[cfg(feature = "datafusion")]
    pub(crate) fn int2() -> Self {
        Self::new("int2", Shape::Int2)
    }

    /// `numeric` as the decimal that has most room on both sides of the point.
    #[cfg(feature = "datafusion")]
    pub(crate) fn widest_decimal() -> Self {
        let shape = Shape::Decimal {
            precision: DECIMAL256_PRECISION,
            scale: DECIMAL256_PRECISION / 2,
        };
        Self::new("numeric", shape)
    }

    /// Whether this is a `numeric` of declared precision and scale, read as a decimal.
    #[cfg(feature = "datafusion")]
    pub(crate) fn is_decimal(&self) -> bool {
        matches!(self.shape, Shape::Decimal { .. })
    }

    /// Whether this is an enum.
    #[cfg(feature = "datafusion")]
    pub(crate) fn is_enum(&self) -> bool {
        matches!(self.shape, Shape::Enum { .. })
    }

    /// Whether the binary form is one that we know, and the same on every server that has the types
    /// which the value is made of under the same OIDs.
    #[cfg(feature = "datafusion")]
    pub(crate) fn is_portable(&self) -> bool {
        match &self.shape {
            Shape::Cast => false,
            Shape::Array { element, .. }
            | Shape::Range { element }
            | Shape::Multirange { element } => element.is_portable(),
            Shape::Composite { fields } => fields.iter().all(|field| field.pg_type.is_portable()),
            _ => true,
        }
    }

    /// Whether a value may hold a date or a time, also inside; not said of text.
    #[cfg(feature = "datafusion")]
    pub(crate) fn may_hold_time(&self) -> bool {
        match &self.shape {
            Shape::Date
            | Shape::Time
            | Shape::TimeTz
            | Shape::Timestamp { .. }
            // A type of which nothing is known.
            | Shape::Cast => true,
            Shape::Array { element, .. }
            | Shape::Range { element }
            | Shape::Multirange { element } => element.may_hold_time(),
            Shape::Composite { fields } => fields.iter().any(|field| field.pg_type.may_hold_time()),
            _ => false,
        }
    }

    /// Whether values are made of values of other types.
    #[cfg(feature = "datafusion")]
    pub(crate) fn holds_others(&self) -> bool {
        matches!(
            self.shape,
            Shape::Array { .. }
                | Shape::Range { .. }
                | Shape::Multirange { .. }
                | Shape::Composite { .. }
        )
    }

    /// Whether the server makes the text of the values, or the text is all that is read of them.
    #[cfg(feature = "datafusion")]
    pub(crate) fn is_read_as_text(&self) -> bool {
        matches!(self.shape, Shape::Cast | Shape::NumericText { .. })
    }

    /// Whether both are the same type, but for the modifiers that decide how it is read (precision
    /// and scale, and dimensions): the values of one can be read as those of the other, or do not
    /// fit.
    #[cfg(feature = "datafusion")]
    pub(crate) fn is_same_but_for_modifiers(&self, other: &Self) -> bool {
        match (&self.shape, &other.shape) {
            (Shape::Composite { fields: left }, Shape::Composite { fields: right }) => {
                self.name == other.name
                    && left.len() == right.len()
                    && left.iter().zip(right).all(|(left, right)| {
                        left.name == right.name
                            && left.pg_type.is_same_but_for_modifiers(&right.pg_type)
                    })
            }
            (
                Shape::Array {
                    element: left,
                    lower_bound: left_bound,
                    ..
                },
                Shape::Array {
                    element: right,
                    lower_bound: right_bound,
                    ..
                },
            ) => left_bound == right_bound && left.is_same_but_for_modifiers(right),
            (Shape::Range { element: left }, Shape::Range { element: right })
            | (Shape::Multirange { element: left }, Shape::Multirange { element: right }) => {
                self.name == other.name && left.is_same_but_for_modifiers(right)
            }
            (Shape::Vector { .. }, Shape::Vector { .. }) | (Shape::Cast, Shape::Cast) => {
                without_modifiers(&self.name) == without_modifiers(&other.name)
            }
            (left, right) if left.is_numeric() && right.is_numeric() => true,
            (left, right) => self.name == other.name && left == right,
        }
    }

    /// Applies the options, and turns types that hold a part without binary form into their text.
    #[must_use]
    pub(crate) fn with_options(self, options: &TypeOptions) -> Self {
        let name = self.name.clone();
        let as_text = match self.shape {
            // No need to ask the server for it.
            Shape::Numeric | Shape::Decimal { .. } => Shape::NumericText { finite: false },
            _ => Shape::Cast,
        };
        match self.apply(options) {
            Some(resolved) => resolved,
            None => Self::new(name, as_text).with_views(options.text == TextAs::Views),
        }
    }

    /// `None`: the whole type has to be read as text.
    fn apply(self, options: &TypeOptions) -> Option<Self> {
        let as_text = options.unrepresentable == Unrepresentable::Text;
        let shape = match self.shape {
            Shape::Cast => return None,
            Shape::Decimal { .. } if as_text => return None,
            Shape::Numeric => match options.numeric {
                NumericAs::Auto | NumericAs::Text if as_text => return None,
                NumericAs::Auto => Shape::Decimal {
                    precision: 38,
                    scale: 20,
                },
                NumericAs::Decimal { precision, scale } => Shape::Decimal { precision, scale },
                NumericAs::Text => Shape::NumericText { finite: false },
                NumericAs::FiniteText => Shape::NumericText { finite: true },
                NumericAs::Float64 => Shape::NumericFloat,
            },
            Shape::Date | Shape::Time | Shape::Timestamp { .. } | Shape::Interval if as_text => {
                return None;
            }
            Shape::Interval if options.interval == IntervalAs::Text => return None,
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
        Some(Self::new(self.name, shape).with_views(options.text == TextAs::Views))
    }
}

#[cfg(feature = "datafusion")]
impl Shape {
    fn is_numeric(&self) -> bool {
        matches!(
            self,
            Self::Numeric | Self::Decimal { .. } | Self::NumericText { .. } | Self::NumericFloat
        )
    }
}

/// `numeric[]` of `numeric(15,2)[][]`.
#[cfg(feature = "datafusion")]
fn without_modifiers(name: &str) -> (&str, bool) {
    let element = name.trim_end_matches("[]");
    let bare = element.split('(').next().unwrap_or(element);
    (bare, element.len() != name.len())
}

impl fmt::Display for PgType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests;
