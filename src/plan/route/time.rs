//! Dates and times that shard keys are compared with.
//!
//! What is asked of a server is SQL of a key, to which a rule gives a shard. It may let more keys pass than
//! the condition: a shard more is asked then, and never one less.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, TimezoneInfo, Value,
};

use super::constant::quoted;
use crate::catalog::Catalog;
use crate::plan::functions;
use crate::plan::rewrite::bare;

/// A type of dates or times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Date,
    Timestamp,
    TimestampTz,
}

/// The type of a shard key that is a date or time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Date,
    Timestamp,
}

impl KeyKind {
    /// As the catalog calls the type.
    pub(super) fn of(key_type: &str) -> Option<Self> {
        let is_timestamp = key_type.starts_with("timestamp");
        match key_type {
            "date" => Some(Self::Date),
            name if is_timestamp && name.ends_with("without time zone") => Some(Self::Timestamp),
            _ => None,
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Date => Kind::Date,
            Self::Timestamp => Kind::Timestamp,
        }
    }

    /// The type of what `date_trunc` gives.
    pub(super) fn truncated(self) -> Kind {
        match self {
            Self::Date => Kind::TimestampTz,
            Self::Timestamp => Kind::Timestamp,
        }
    }
}

/// Whether a type, or SQL, has to do with what is read and written by the session's time zone. A rule over such
/// keys, or with such a literal, may mean other shards than when the rows were spread.
pub(super) fn is_zoned(sql: &str) -> bool {
    let names = ["with time zone", "timestamptz", "timetz"];
    names.iter().any(|name| sql.contains(name))
}

impl Kind {
    fn of_cast(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Date => Self::Date,
            DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                Self::Timestamp
            }
            DataType::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
                Self::TimestampTz
            }
            _ => return None,
        })
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Date => "pg_catalog.date",
            Self::Timestamp => "pg_catalog.timestamp",
            Self::TimestampTz => "pg_catalog.timestamptz",
        }
    }
}

/// A key, in SQL.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeySql {
    pub(super) sql: String,
    /// Whether the session's time zone decides which key that is.
    pub(super) is_local: bool,
}

impl KeySql {
    /// One that is the same in every session.
    pub(super) fn fixed(sql: String) -> Self {
        Self {
            sql,
            is_local: false,
        }
    }
}

/// A date or time that depends on no row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moment {
    sql: String,
    kind: Kind,
    /// Whether the session's time zone decides which it is as a local time.
    is_local: bool,
}

impl Moment {
    /// The value of a literal, or of what is computed of one; one without a type has the type of what it
    /// is compared with. `None` for any other expression, and for a text that is read otherwise
    /// tomorrow, or with another setting.
    pub(super) fn of(expr: &Expr, untyped: Kind, catalog: &Catalog) -> Option<Self> {
        if let Some(text) = quoted(expr) {
            return is_iso(&text).then(|| Self {
                sql: format!("({expr})::{}", untyped.sql()),
                kind: untyped,
                is_local: untyped == Kind::TimestampTz,
            });
        }
        let (kind, is_made_of_local) = match bare(expr) {
            Expr::TypedString(typed) => {
                let text = typed.value.value.clone().into_string()?;
                (
                    is_iso(&text).then_some(Kind::of_cast(&typed.data_type)?)?,
                    false,
                )
            }
            Expr::Cast {
                kind: CastKind::DoubleColon | CastKind::Cast,
                expr,
                data_type,
                ..
            } => {
                let kind = Kind::of_cast(data_type)?;
                (kind, Self::of(expr, kind, catalog)?.is_local)
            }
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Plus | BinaryOperator::Minus,
                right,
            } => {
                // A literal without a type would be an interval there.
                let left = match quoted(left) {
                    Some(_) => return None,
                    None => Self::of(left, untyped, catalog)?,
                };
                let kind = match (left.kind, bare(right)) {
                    (kind, right) if is_interval(right) => match kind {
                        Kind::Date => Kind::Timestamp,
                        kind => kind,
                    },
                    (Kind::Date, Expr::Value(value))
                        if matches!(value.value, Value::Number(..)) =>
                    {
                        Kind::Date
                    }
                    _ => return None,
                };
                (kind, left.is_local)
            }
            Expr::Function(function) => {
                let (_, moment) = truncation(function, catalog)?;
                let moment = Self::of(moment, Kind::TimestampTz, catalog)?;
                let kind = match moment.kind {
                    Kind::Date => Kind::TimestampTz,
                    kind => kind,
                };
                (kind, moment.is_local)
            }
            _ => return None,
        };
        Some(Self {
            sql: format!("({expr})"),
            kind,
            is_local: is_made_of_local || kind == Kind::TimestampTz,
        })
    }

    /// The first day of a year.
    pub(super) fn year(year: u16) -> Self {
        Self {
            sql: format!("'{year:04}-01-01'::{}", Kind::Date.sql()),
            kind: Kind::Date,
            is_local: false,
        }
    }

    fn as_key(&self, sql: String) -> KeySql {
        KeySql {
            sql,
            is_local: self.is_local,
        }
    }

    /// The same moment as a key, where keys can be equal to it.
    pub(super) fn key(&self) -> Option<KeySql> {
        // What local time it is depends on the time zone's own changes, on which day and night it has.
        (self.kind != Kind::TimestampTz).then(|| self.as_key(self.sql.clone()))
    }

    /// A key than which no key is less that is not less than this.
    pub(super) fn lower(&self) -> KeySql {
        self.as_key(match self.kind {
            Kind::TimestampTz => format!("{}::{}", around(&self.sql, "-"), Kind::Timestamp.sql()),
            _ => self.sql.clone(),
        })
    }

    /// A key than which no key is greater that is not greater than this, or `strict`: that is less.
    pub(super) fn upper(&self, key: KeyKind, strict: bool) -> KeySql {
        let kind = match (self.kind, key) {
            (Kind::Date, KeyKind::Date) => Kind::Date,
            _ => Kind::Timestamp,
        };
        let sql = match self.kind {
            Kind::TimestampTz => around(&self.sql, "+"),
            _ => self.sql.clone(),
        };
        self.as_key(before(&format!("{sql}::{}", kind.sql()), kind, strict))
    }

    /// The least key of those whose truncation, which is of their type, is not less than this.
    pub(super) fn lower_truncated(&self, key: KeyKind) -> Option<KeySql> {
        self.local(key)
    }

    /// The greatest key of those whose truncation is not greater than this, or `strict`: is less.
    pub(super) fn upper_truncated(&self, key: KeyKind, unit: Unit, strict: bool) -> Option<KeySql> {
        let KeySql {
            sql: local,
            is_local,
        } = self.local(key)?;
        let (name, length) = (unit.name(), unit.length());
        let trunc = |sql: String| format!("pg_catalog.date_trunc('{name}', {sql})");
        let end = match strict {
            true => trunc(format!(
                "{local} + interval '{length}' - interval '1 microsecond'"
            )),
            false => format!("({} + interval '{length}')", trunc(local)),
        };
        Some(KeySql {
            sql: before(&end, Kind::Timestamp, true),
            is_local,
        })
    }

    /// The moment as what truncated keys are: of a key that is a date, as the local time of what
    /// `date_trunc` gives, which is a `timestamptz`.
    fn local(&self, key: KeyKind) -> Option<KeySql> {
        let (sql, zoned, local) = (&self.sql, Kind::TimestampTz.sql(), Kind::Timestamp.sql());
        match (key, self.kind) {
            (KeyKind::Date, _) => Some(KeySql {
                sql: format!("{sql}::{zoned}::{local}"),
                is_local: true,
            }),
            (KeyKind::Timestamp, Kind::TimestampTz) => None,
            (KeyKind::Timestamp, _) => Some(self.as_key(format!("{sql}::{local}"))),
        }
    }
}

/// A `timestamptz`, or where local time jumps within a day of it, a day before or after: an hour that comes
/// twice, or never, is not passed over then.
fn around(sql: &str, sign: &str) -> String {
    let local = Kind::Timestamp.sql();
    let steady = ["-", "+"].map(|sign| {
        format!("(at {sign} interval '24 hours')::{local} = at::{local} {sign} interval '24 hours'")
    });
    format!(
        "(SELECT CASE WHEN {} THEN at ELSE at {sign} interval '24 hours' END FROM (SELECT {sql} AS at) AS moment)",
        steady.join(" AND ")
    )
}

/// A moment, or the last one before it.
fn before(sql: &str, kind: Kind, strict: bool) -> String {
    match (strict, kind) {
        (false, _) => sql.to_owned(),
        (true, Kind::Date) => format!("({sql} - 1)"),
        (true, _) => format!("({sql} - interval '1 microsecond')"),
    }
}

/// What `date_trunc` cuts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Unit {
    fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Hour,
            Self::Day,
            Self::Week,
            Self::Month,
            Self::Quarter,
            Self::Year,
        ];
        all.into_iter()
            .find(|unit| unit.name().eq_ignore_ascii_case(name))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// As an interval.
    fn length(self) -> &'static str {
        match self {
            Self::Hour => "1 hour",
            Self::Day => "1 day",
            Self::Week => "7 days",
            Self::Month => "1 month",
            Self::Quarter => "3 months",
            Self::Year => "1 year",
        }
    }
}

/// The unit and the argument of PostgreSQL's own `date_trunc`.
pub(super) fn truncation<'a>(
    function: &'a Function,
    catalog: &Catalog,
) -> Option<(Unit, &'a Expr)> {
    if functions::system_name(function, catalog)? != "date_trunc" {
        return None;
    }
    match functions::expressions(function)[..] {
        [unit, argument] => Some((Unit::named(&quoted(unit)?)?, argument)),
        // In a time zone of its own.
        _ => None,
    }
}

fn is_interval(expr: &Expr) -> bool {
    match bare(expr) {
        Expr::Interval(interval) => quoted(&interval.value).is_some(),
        Expr::Cast {
            expr, data_type, ..
        } => matches!(data_type, DataType::Interval { .. }) && quoted(expr).is_some(),
        Expr::TypedString(typed) => matches!(typed.data_type, DataType::Interval { .. }),
        _ => false,
    }
}

/// Whether a text is a date or time that every setting reads alike: `2024-03-01`, `2024-03-01 10:00:00.5+01`.
fn is_iso(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_date = bytes.len() >= 10
        && bytes[..10].iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let is_time = |rest: &[u8]| match rest {
        [] => true,
        [b' ' | b'T', digit, rest @ ..] => {
            digit.is_ascii_digit()
                && rest
                    .iter()
                    .all(|byte| byte.is_ascii_digit() || b":.+-".contains(byte))
        }
        _ => false,
    };
    is_date && is_time(&bytes[10..])
}

/// Whether a text is such a date or time without an offset from UTC, so that texts compare as moments do.
pub(super) fn is_local_iso(text: &str) -> bool {
    let time = text.get(10..).unwrap_or_default();
    is_iso(text) && !time.contains(['T', '+', '-'])
}
