//! From PostgreSQL's description of a type, or its name, to how it is read.

use std::str::FromStr;

use tokio_postgres::types::{Kind, Type};

use super::{Column, DECIMAL256_PRECISION, PgType, Shape, TypeOptions};
use crate::error::{Error, ErrorKind, Result};

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
            // `int2vector` and `oidvector` are arrays to the client library, though not in form.
            Kind::Array(_) if matches!(oid_type, &Type::INT2_VECTOR | &Type::OID_VECTOR) => {
                Self::base(oid_type.schema(), oid_type.name(), -1)
                    .unwrap_or_else(|| Self::new(name, Shape::Cast))
            }
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
    pub(super) fn array(element: Self, dimensions: usize) -> Self {
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
}

impl FromStr for PgType {
    type Err = Error;

    /// Reads the name of a built-in type as PostgreSQL's catalog spells it (`int4`, not
    /// `integer`), with `(precision,scale)` behind `numeric` and `[]` for each dimension of an
    /// array; `numeric` alone takes the default of [`NumericAs`](super::NumericAs).
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
/// Precision and scale in a type modifier of `numeric`; `None` for -1.
/// Source: `src/backend/utils/adt/numeric.c`, `make_numeric_typmod`.
pub(super) fn numeric_modifier(modifier: i32) -> Option<(i32, i32)> {
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

pub(super) struct Builtin {
    pub(super) name: &'static str,
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
pub(super) const BUILTINS: &[Builtin] = &[
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
