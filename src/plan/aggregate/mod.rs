//! How an aggregate call splits: what each shard computes per group, and the expression that makes
//! the aggregate's value of that.
//!
//! ```text
//! avg(x) FILTER (WHERE f)
//!   on the shards  count(x) FILTER (WHERE f), sum(x) FILTER (WHERE f)
//!   over m1        sum(m1.c2) / sum(m1.c1)
//! ```
//!
//! The combining expression is made of aggregates too. It is right for any number of rows for a
//! group, none included, so it stands where the user's call stood, under the user's own GROUP BY,
//! ROLLUP and HAVING, and PostgreSQL groups again under its own equality. It skips rows in which
//! all partials are NULL. Its type and numeric scale are those of the user's call.
//!
//! A pure function of the call, the types of its arguments, and the types of columns. Names are
//! taken to be those of PostgreSQL's own aggregates: the caller has resolved them.

mod bounds;
mod call;
mod moments;
mod template;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr};

use self::call::{Call, is_constant, placeholder, row_elements, with_arguments};
use self::moments::{Regression, Variance};
use super::facts::aggregates::{self, Aggregate, Distinct, Order, Part, Rule};
use crate::error::Error;
use crate::plan::build;
use crate::types::PgType;

pub(crate) use self::bounds::{Columns, decimal_bounds};
pub(crate) use super::facts::aggregates::Reaggregate;

/// How one aggregate call splits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Split {
    /// What the shards compute for each group, in the order of [`combine`](Self::combine).
    ///
    /// Two partials with equal `expr` and `kind`, of this call or another, are one column.
    pub(crate) partials: Vec<Partial>,
    /// The result depends on the order in which floating-point numbers are added.
    pub(crate) float_order: bool,
    /// There is one partial, and what DataFusion merges it to is the call's value. A count over no
    /// rows at all is 0 all the same.
    pub(crate) direct: bool,
    /// Why the value is that of the call, for people: `sum(bigint) is the sum of the shards' sums`.
    pub(crate) because: String,
    /// The functions that it is taken apart and put together with, as PostgreSQL's own are called.
    pub(crate) calls: BTreeSet<String>,
    /// With `$n` for the n-th partial.
    combine: Expr,
}

/// A column of the rows that the shards give.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Partial {
    /// The SQL on the shard, with the call's FILTER.
    pub(crate) expr: Expr,
    pub(crate) kind: PartialKind,
    /// How DataFusion merges it exactly; `None`: only PostgreSQL does.
    pub(crate) merge: Option<Reaggregate>,
}

/// What kind of a column of the shard query a partial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PartialKind {
    /// An aggregate call, or an expression over such calls.
    ///
    /// Where there are also [`Distinct`](Self::Distinct) partials, it has to be NULL in all grouping
    /// sets but that of the keys alone: each set counts every row.
    Aggregate,
    /// An expression to group by.
    ///
    /// All partials of this kind of one call make one more grouping set together: the shard query
    /// has `GROUP BY GROUPING SETS ((keys), (keys, d1), (keys, d2, d3))`. They are NULL in rows of
    /// other sets, or what the keys are where they equal a key; neither does harm.
    ///
    /// Its collation counts, as does that of `min` and `max`.
    Distinct,
}

impl Split {
    /// The split of a call, which says what it is made with, and why.
    fn of(self, call: &Call<'_>, because: &str) -> Self {
        let mut calls = template::calls(&self.combine);
        calls.extend(call.calls());
        Self {
            because: format!("{} {because}", call.called()),
            calls,
            ..self
        }
    }

    /// The expression over the merged rows, given what each partial is called there. It can be put
    /// anywhere in place of the call.
    pub(crate) fn combine(&self, columns: &[Expr]) -> Expr {
        let expr = template::fill(&self.combine, columns);
        match expr {
            Expr::Function(_) | Expr::Subquery(_) | Expr::Cast { .. } => expr,
            other => Expr::Nested(Box::new(other)),
        }
    }
}

/// Why a call is not split.
#[derive(Debug)]
pub(crate) enum Unsplit {
    /// For people: `array_agg gives back every value it is given`.
    Reason(String),
    /// A rule of ours cannot be read.
    Fault(Error),
}

impl From<String> for Unsplit {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

impl From<&str> for Unsplit {
    fn from(reason: &str) -> Self {
        Self::Reason(reason.to_owned())
    }
}

impl From<Error> for Unsplit {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

/// Splits a call of one of PostgreSQL's own aggregates.
///
/// `arguments` are the types of the call's arguments as PostgreSQL describes them (none for `*`),
/// `columns` tells those of columns. The arguments are evaluated more often than in the call, so
/// volatile ones are the caller's to refuse.
///
/// # Errors
/// Why it cannot be split.
pub(crate) fn split(
    call: &Function,
    arguments: &[PgType],
    columns: &Columns<'_>,
) -> Result<Split, Unsplit> {
    let call = Call::read(call, arguments, columns)?;
    let Some(known) = aggregates::named(&call.name) else {
        return Err(format!("there is no rule that splits {}", call.name).into());
    };
    if call.distinct && known.distinct == Distinct::Counts {
        let because = "is over the distinct values of all shards, made distinct again";
        return Ok(call.split_distinct()?.of(&call, because));
    }
    let split = match known.rule {
        Rule::Count if call.name == "count" => call.split_count(),
        Rule::Count => call.regr_count(),
        Rule::Sum => call.split_sum(),
        Rule::Avg => call.split_avg(),
        Rule::Variance { sample, root } => call.split_variance(Variance { sample, root }),
        Rule::Regression => call.split_regression(),
        Rule::Same => call.split_same(known),
        Rule::Whole(reason) => Err(format!("{} {reason}", call.name).into()),
    };
    Ok(split?.of(&call, known.rule.because()))
}

/// More digits than the values have: a sum of up to 10^10 of them fits.
const SUM_DIGITS: u32 = 10;

/// The most digits of an Arrow decimal.
const MOST_DIGITS: u32 = 76;

impl Call<'_> {
    fn split_count(&self) -> Result<Split, Unsplit> {
        // `*` and `t.*` are no expressions.
        let count = self.partial("count($1)", Some(Reaggregate::Sum))?;
        let count = match (self.written, &count.expr) {
            ([FunctionArg::Unnamed(FunctionArgExpr::Expr(_))], _) => count,
            (written, Expr::Function(function)) => Partial {
                expr: Expr::Function(with_arguments(function, written.to_vec())),
                ..count
            },
            _ => return Err("count takes one argument".into()),
        };
        Ok(Split {
            direct: true,
            ..combined(vec![count], COUNT)?
        })
    }

    fn regr_count(&self) -> Result<Split, Unsplit> {
        let count = self.partial("regr_count($1, $2)", Some(Reaggregate::Sum))?;
        Ok(Split {
            direct: true,
            ..combined(vec![count], COUNT)?
        })
    }

    fn split_sum(&self) -> Result<Split, Unsplit> {
        let sum = self.sum()?;
        let direct = sum.merge.is_some();
        let (combine, float) = match self.argument_type()? {
            "int2" | "int4" => ("sum($1)::int8", false),
            "float4" => ("sum($1)::float4", true),
            "float8" => ("sum($1)", true),
            _ => ("sum($1)", false),
        };
        self.check_order(float)?;
        Ok(Split {
            float_order: float,
            direct,
            ..combined(vec![sum], combine)?
        })
    }

    fn split_avg(&self) -> Result<Split, Unsplit> {
        let (combine, float) = match self.argument_type()? {
            "int2" | "int4" | "int8" | "numeric" => ("sum($2) / sum($1)", false),
            // PostgreSQL keeps the squares too, and reports it where those overflow; we do not.
            "float4" | "float8" => ("sum($2) / sum($1)::float8", true),
            "interval" => ("sum($2) / sum($1)::float8", false),
            other => return Err(format!("there is no rule for avg({other})").into()),
        };
        self.check_order(float)?;
        Ok(Split {
            float_order: float,
            ..combined(vec![self.count()?, self.sum()?], combine)?
        })
    }

    fn split_variance(&self, variance: Variance) -> Result<Split, Unsplit> {
        let float = match self.argument_type()? {
            "int2" | "int4" | "int8" | "numeric" => false,
            "float4" | "float8" => true,
            other => return Err(format!("there is no rule for {}({other})", self.name).into()),
        };
        self.check_order(float)?;
        if float {
            let squares = self.partial("regr_sxx($1, $1)", None)?;
            return Ok(Split {
                float_order: true,
                ..combined(
                    vec![self.count()?, self.sum()?, squares],
                    &variance.of_float(),
                )?
            });
        }
        let squares = match self.bounds().map(|(p, s)| (2 * p + SUM_DIGITS, 2 * s)) {
            Some((precision, scale)) if precision <= MOST_DIGITS => self.partial(
                &format!("sum(($1)::numeric * ($1)::numeric)::numeric({precision},{scale})"),
                Some(Reaggregate::Sum),
            )?,
            _ => self.partial("sum(($1)::numeric * ($1)::numeric)", None)?,
        };
        combined(
            vec![self.count()?, self.sum()?, squares],
            &variance.of_numeric(),
        )
    }

    fn split_regression(&self) -> Result<Split, Unsplit> {
        let Some(regression) = Regression::named(&self.name) else {
            return Err(Error::fault(format!("{} has no rule", self.name)).into());
        };
        self.check_order(true)?;
        let partials = regression
            .partials()
            .map(|template| {
                // The first of them is the count.
                let count = template.starts_with("regr_count(");
                self.partial(template, count.then_some(Reaggregate::Sum))
            })
            .collect::<Result<_, _>>()?;
        Ok(Split {
            float_order: true,
            ..combined(partials, &regression.combine())?
        })
    }

    /// Aggregates that combine themselves.
    fn split_same(&self, known: &Aggregate) -> Result<Split, Unsplit> {
        let name = known.name;
        let integer = matches!(self.argument_type()?, "int2" | "int4" | "int8");
        let merge = match known.part {
            Part::Merged(by) => (integer || by.is_of_booleans()).then_some(by),
            Part::Moment | Part::None => None,
        };
        self.check_order(known.order == Order::Matters)?;
        if self.argument_type()?.starts_with("record") {
            return Err(format!("{name} of a row without a type cannot be sent").into());
        }
        let template = format!("{name}($1)");
        Ok(Split {
            direct: merge.is_some(),
            ..combined(vec![self.partial(&template, merge)?], &template)?
        })
    }

    /// The shards give the distinct values, and PostgreSQL aggregates those that are distinct
    /// overall, in the order of its own DISTINCT.
    fn split_distinct(&self) -> Result<Split, Unsplit> {
        self.check_order(true)?;
        if self.args.len() != self.written.len() {
            return Err("the values of whole rows cannot be sent".into());
        }
        let mut partials = Vec::new();
        let mut send = |expr: &Expr| -> Expr {
            // A constant is no column, and a number in GROUP BY is a position.
            if is_constant(expr) {
                return expr.clone();
            }
            partials.push(self.distinct_partial(expr));
            placeholder(partials.len())
        };
        let name = &self.name;
        let combine = match row_elements(&self.args) {
            Some(elements) => {
                let mut sent: Vec<_> = elements.iter().map(&mut send).collect();
                // A row counts even if all of it is NULL, but not where it is of another set.
                let list = placeholders(elements.len());
                let there = template::parse(&format!("num_nulls({list}) >= 0"))?;
                self.calling(&there);
                sent.push(send(&template::fill(&there, &elements)));
                let last = sent.len();
                let rule = format!("{name}(DISTINCT ROW({list})) FILTER (WHERE ${last})");
                template::fill(&template::parse(&rule)?, &sent)
            }
            None => {
                let sent: Vec<_> = self.args.iter().map(send).collect();
                let rule = format!("{name}(DISTINCT {})", placeholders(sent.len()));
                template::fill(&template::parse(&rule)?, &sent)
            }
        };
        if self.types.iter().any(|name| name.starts_with("record"))
            && row_elements(&self.args).is_none()
        {
            return Err(format!("{name}(DISTINCT) of a row without a type cannot be sent").into());
        }
        if partials.is_empty() {
            return Err(format!("{name}(DISTINCT) of a constant").into());
        }
        Ok(Split {
            partials,
            float_order: false,
            direct: false,
            because: String::new(),
            calls: BTreeSet::new(),
            combine,
        })
    }

    fn distinct_partial(&self, expr: &Expr) -> Partial {
        let expr = match self.filter {
            // What the filter keeps out is NULL, which all of these aggregates skip.
            Some(filter) => build::case_when(filter.clone(), expr.clone()),
            None => expr.clone(),
        };
        Partial {
            expr,
            kind: PartialKind::Distinct,
            merge: None,
        }
    }

    /// The number of values, which is that of rows where the sum counts.
    fn count(&self) -> Result<Partial, Unsplit> {
        self.partial("count($1)", Some(Reaggregate::Sum))
    }

    /// The sum, with every digit: `real` numbers are added as `double precision`.
    fn sum(&self) -> Result<Partial, Unsplit> {
        match self.argument_type()? {
            "int2" | "int4" => self.partial("sum($1)", Some(Reaggregate::Sum)),
            "int8" | "numeric" => match self.bounds().map(|(p, s)| (p + SUM_DIGITS, s)) {
                Some((precision, scale)) if precision <= MOST_DIGITS => self.partial(
                    &format!("sum($1)::numeric({precision},{scale})"),
                    Some(Reaggregate::Sum),
                ),
                _ => self.partial("sum($1)", None),
            },
            "float4" => self.partial("sum(($1)::float8)", None),
            "float8" | "interval" | "money" => self.partial("sum($1)", None),
            other => Err(format!("there is no rule for {}({other})", self.name).into()),
        }
    }
}

/// `coalesce`: over no rows at all, a count is 0.
const COUNT: &str = "coalesce(sum($1), 0)::int8";

/// `$1, $2, ...`
fn placeholders(count: usize) -> String {
    let list: Vec<_> = (1..=count).map(|n| format!("${n}")).collect();
    list.join(", ")
}

fn combined(partials: Vec<Partial>, combine: &str) -> Result<Split, Unsplit> {
    Ok(Split {
        partials,
        float_order: false,
        direct: false,
        because: String::new(),
        calls: BTreeSet::new(),
        combine: template::parse(combine)?,
    })
}
