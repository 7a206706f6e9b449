//! The keys that a condition lets pass.

use datafusion::sql::sqlparser::ast::{BinaryOperator, DataType, Expr};

use super::constant::{self, elements, number_of};
use super::time::{KeyKind, KeySql, Kind, Moment, Unit, is_zoned, truncation};
use crate::catalog::Catalog;
use crate::plan::functions;
use crate::plan::locality::ColumnName;
use crate::plan::naming::as_column;
use crate::plan::rewrite::bare;

/// Of more keys no shard is asked where they lie: they lie on all.
pub(super) const MOST_KEYS: usize = 1_000;

/// Of a condition with more ranges, too: each is a question.
const MOST_RANGES: usize = 32;

/// Keys: at least those of the rows that a condition lets pass.
#[derive(Debug)]
pub(super) enum Keys {
    /// Those that are equal to one of these constants.
    EqualTo(Vec<Expr>),
    /// Those in a range.
    Between(Range),
    /// Those that are in one of these.
    AnyOf(Vec<Keys>),
    /// Those that are in all of these.
    AllOf(Vec<Keys>),
}

/// Keys from one to another, both included, in SQL; `None`: there is no such bound.
#[derive(Debug, Default)]
pub(super) struct Range {
    pub(super) lower: Option<KeySql>,
    pub(super) upper: Option<KeySql>,
}

impl Keys {
    fn both(self, other: Self) -> Self {
        Self::AllOf(vec![self, other])
    }

    fn either(self, other: Self) -> Self {
        match (self, other) {
            // One question for all of them.
            (Self::EqualTo(mut some), Self::EqualTo(more)) => {
                some.extend(more);
                Self::EqualTo(some)
            }
            (some, more) => Self::AnyOf(vec![some, more]),
        }
    }

    fn ranges(&self) -> usize {
        match self {
            Self::EqualTo(_) => 0,
            Self::Between(_) => 1,
            Self::AnyOf(parts) | Self::AllOf(parts) => parts.iter().map(Self::ranges).sum(),
        }
    }
}

/// A shard key, in the conditions of a SELECT.
pub(super) struct Key<'a> {
    /// The columns that are equal to it.
    pub(super) class: &'a [ColumnName],
    /// Those of them that are of its type.
    pub(super) alike: Vec<ColumnName>,
    pub(super) key_type: &'a str,
    pub(super) catalog: &'a Catalog,
}

impl Key<'_> {
    /// The keys of the rows that a condition lets pass; `None` if it says nothing of them.
    pub(super) fn passing(&self, condition: &Expr) -> Option<Keys> {
        if is_zoned(self.key_type) {
            return None;
        }
        self.of(condition)
            .filter(|keys| keys.ranges() <= MOST_RANGES)
    }

    fn of(&self, condition: &Expr) -> Option<Keys> {
        match bare(condition) {
            Expr::BinaryOp { left, op, right } => match op {
                BinaryOperator::And => match (self.of(left), self.of(right)) {
                    (Some(left), Some(right)) => Some(left.both(right)),
                    (left, right) => left.or(right),
                },
                BinaryOperator::Or => Some(self.of(left)?.either(self.of(right)?)),
                op => self
                    .compared(left, op, right)
                    .or_else(|| self.compared(right, &mirrored(op)?, left)),
            },
            Expr::InList {
                expr,
                list,
                negated: false,
            } => match self.is_equal_to_key(expr) {
                true => constants(list.clone()),
                false => {
                    let mut each = list
                        .iter()
                        .map(|value| self.compared(expr, &BinaryOperator::Eq, value));
                    let first = each.next()??;
                    each.try_fold(first, |found, keys| Some(found.either(keys?)))
                }
            },
            Expr::Between {
                expr,
                negated: false,
                low,
                high,
            } if !matches!(**low, Expr::Prefixed { .. }) => {
                let low = self.compared(expr, &BinaryOperator::GtEq, low);
                let high = self.compared(expr, &BinaryOperator::LtEq, high);
                match (low, high) {
                    (Some(low), Some(high)) => Some(low.both(high)),
                    (low, high) => low.or(high),
                }
            }
            Expr::AnyOp {
                left,
                compare_op: BinaryOperator::Eq,
                right,
                ..
            } if self.is_equal_to_key(left) => elements(right)
                .filter(|found| found.len() <= MOST_KEYS)
                .and_then(constants),
            _ => None,
        }
    }

    /// The keys for which `expr op value` holds.
    fn compared(&self, expr: &Expr, op: &BinaryOperator, value: &Expr) -> Option<Keys> {
        if *op == BinaryOperator::Eq
            && self.is_equal_to_key(expr)
            && constant::typed(value, self.key_type, self.catalog).is_some()
        {
            return constants(vec![value.clone()]);
        }
        let (lower, upper, strict) = match op {
            BinaryOperator::Eq => (true, true, false),
            BinaryOperator::GtEq => (true, false, false),
            BinaryOperator::Gt => (true, false, true),
            BinaryOperator::LtEq => (false, true, false),
            BinaryOperator::Lt => (false, true, true),
            _ => return None,
        };
        let side = self.side(expr)?;
        if constant::is_null(value) {
            return Some(Keys::EqualTo(Vec::new()));
        }
        let Some(key) = KeyKind::of(self.key_type) else {
            return match side {
                Side::Key => self.whole(value, lower, upper, strict),
                Side::Truncated(..) | Side::Year => None,
            };
        };
        let range = match side {
            Side::Key => {
                let moment = Moment::of(value, key.kind(), self.catalog)?;
                Range {
                    lower: lower.then(|| moment.lower()),
                    upper: upper.then(|| moment.upper(key, strict)),
                }
            }
            Side::Truncated(unit, kind) => {
                let moment = Moment::of(value, kind, self.catalog)?;
                truncated(&moment, key, unit, (lower, upper, strict))?
            }
            Side::Year => {
                let year = u16::try_from(number_of(value)?).ok()?;
                let moment = (1..9999).contains(&year).then(|| Moment::year(year))?;
                truncated(&moment, key, Unit::Year, (lower, upper, strict))?
            }
        };
        Some(Keys::Between(range))
    }

    /// A range of whole numbers. Where it goes to the end of the type it has no bound: a rule may count on
    /// from the greatest key.
    fn whole(&self, value: &Expr, lower: bool, upper: bool, strict: bool) -> Option<Keys> {
        let (value, all) = constant::whole(value, self.key_type)?;
        let step = i128::from(strict);
        let (least, greatest) = (value.saturating_add(step), value.saturating_sub(step));
        if lower && least > *all.end() || upper && greatest < *all.start() {
            return Some(Keys::EqualTo(Vec::new()));
        }
        let range = Range {
            lower: (lower && least > *all.start()).then(|| KeySql::fixed(format!("({least})"))),
            upper: (upper && greatest < *all.end()).then(|| KeySql::fixed(format!("({greatest})"))),
        };
        (range.lower.is_some() || range.upper.is_some()).then_some(Keys::Between(range))
    }

    fn is_equal_to_key(&self, expr: &Expr) -> bool {
        as_column(expr).is_some_and(|column| self.class.contains(&column))
    }

    /// What a condition compares: the key, or what is computed of it.
    fn side(&self, expr: &Expr) -> Option<Side> {
        let is_key = |expr: &Expr| as_column(expr).is_some_and(|name| self.alike.contains(&name));
        if is_key(expr) {
            return Some(Side::Key);
        }
        let key = KeyKind::of(self.key_type)?;
        match bare(expr) {
            Expr::Cast {
                expr,
                data_type: DataType::Date,
                ..
            } if is_key(expr) => Some(Side::Truncated(Unit::Day, Kind::Date)),
            Expr::Function(function) => match truncation(function, self.catalog) {
                Some((unit, argument)) if is_key(argument) => {
                    Some(Side::Truncated(unit, key.truncated()))
                }
                Some(_) => None,
                None => {
                    let name = functions::system_name(function, self.catalog)?;
                    let arguments = functions::expressions(function);
                    match (&*name, &arguments[..]) {
                        ("date_part", [field, argument])
                            if is_key(argument) && is_year(&constant::quoted(field)?) =>
                        {
                            Some(Side::Year)
                        }
                        _ => None,
                    }
                }
            },
            Expr::Extract { field, expr, .. } if is_key(expr) && is_year(&field.to_string()) => {
                Some(Side::Year)
            }
            _ => None,
        }
    }
}

/// What of a key is compared.
enum Side {
    Key,
    /// The key without what is less than a unit; and the type of that.
    Truncated(Unit, Kind),
    /// The number of its year.
    Year,
}

fn truncated(
    moment: &Moment,
    key: KeyKind,
    unit: Unit,
    (lower, upper, strict): (bool, bool, bool),
) -> Option<Range> {
    Some(Range {
        lower: match lower {
            true => Some(moment.lower_truncated(key)?),
            false => None,
        },
        upper: match upper {
            true => Some(moment.upper_truncated(key, unit, strict)?),
            false => None,
        },
    })
}

/// Keys that are equal to one of these; `None` where one is a column, and so no constant.
fn constants(found: Vec<Expr>) -> Option<Keys> {
    let is_constant = found.iter().all(|constant| as_column(constant).is_none());
    is_constant.then_some(Keys::EqualTo(found))
}

fn is_year(field: &str) -> bool {
    field.eq_ignore_ascii_case("year")
}

/// The operator that says the same of swapped operands.
fn mirrored(op: &BinaryOperator) -> Option<BinaryOperator> {
    Some(match op {
        BinaryOperator::Eq => BinaryOperator::Eq,
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        _ => return None,
    })
}
