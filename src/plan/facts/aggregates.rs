//! PostgreSQL's own aggregates, a row for each.

use Distinct::{Counts, Idempotent};
use Nothing::{Null, Other, Zero};
use Order::{Adds, Any, Chooses, Matters, Rounds};
use Part::{Merged, Moment};
use Rule::{Avg, Count, Regression, Same, Sum, Variance, Whole};

/// What is known of an aggregate.
#[derive(Debug)]
pub(in crate::plan) struct Aggregate {
    pub(in crate::plan) name: &'static str,
    /// How a call is made of what it is over parts of the rows.
    pub(in crate::plan) rule: Rule,
    /// What its value over a part of the rows is to that over all.
    pub(in crate::plan) part: Part,
    /// What DISTINCT does to it.
    pub(in crate::plan) distinct: Distinct,
    /// Whether the order of its rows shows.
    pub(in crate::plan) order: Order,
    /// What it is over no rows.
    pub(in crate::plan) nothing: Nothing,
}

/// How a call is made of what it is over parts of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Rule {
    /// Of counts.
    Count,
    /// Of sums.
    Sum,
    /// Of sums and counts.
    Avg,
    /// Of counts, sums and sums of squares: over n - 1 instead of n, and of that the root.
    Variance { sample: bool, root: bool },
    /// Of counts, means and sums of products of distances.
    Regression,
    /// Of what it is over each part, by itself.
    Same,
    /// Not at all; why.
    Whole(&'static str),
}

impl Rule {
    /// Why a call has the value that it has, for people.
    pub(in crate::plan) fn because(self) -> &'static str {
        match self {
            Count => "is the sum of the shards' counts, and 0 of none",
            Sum => "is the sum of the shards' sums",
            Avg => "is the sum of the shards' sums, divided by the sum of their counts",
            Variance { .. } => "is made of the shards' counts, sums and sums of squares",
            Regression => "is made of the shards' counts, means and sums of products",
            Same => "is that of what it is on each shard",
            Whole(_) => "is computed where all rows are",
        }
    }
}

/// What the value of an aggregate over a part of the rows is to that over all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Part {
    /// One of the values that this aggregate makes the whole of.
    Merged(Reaggregate),
    /// Of use only beside the counts and means of all parts.
    Moment,
    /// Nothing that is put together so.
    None,
}

/// The aggregates by which parts become the whole, in PostgreSQL and in DataFusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reaggregate {
    /// Of `bigint`, where an overflow is an error, or of `numeric(p,s)`.
    ///
    /// A `numeric(p,s)` may be NaN, which Arrow's decimals cannot hold.
    Sum,
    Min,
    Max,
    BoolAnd,
    BoolOr,
    BitAnd,
    BitOr,
    BitXor,
}

impl Reaggregate {
    /// As SQL calls it.
    pub(in crate::plan) fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::BoolAnd => "bool_and",
            Self::BoolOr => "bool_or",
            Self::BitAnd => "bit_and",
            Self::BitOr => "bit_or",
            Self::BitXor => "bit_xor",
        }
    }

    /// Whether DataFusion's is PostgreSQL's for any argument, and not for integers alone.
    pub(in crate::plan) fn is_of_booleans(self) -> bool {
        matches!(self, Self::BoolAnd | Self::BoolOr)
    }
}

/// What DISTINCT does to an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Distinct {
    /// Nothing: its value is that of the set of values, however often each comes.
    Idempotent,
    /// Something. Where the rule splits it, it is computed of the distinct values of all shards.
    Counts,
}

/// Whether the order in which an aggregate takes its rows shows in its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Order {
    /// Not at all: of equal values it is the same.
    Any,
    /// In the last digits, unless what it adds are exact numbers.
    Adds,
    /// In which it gives of several values that are equal.
    Chooses,
    /// In the last digits.
    Rounds,
    /// It gives the values in that order, or one of them by it.
    Matters,
}

/// What an aggregate is over no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::plan) enum Nothing {
    Null,
    Zero,
    /// Some other value.
    Other,
}

/// What is known of the aggregate of a name. What has no row is not split, and takes its rows in one
/// order.
pub(in crate::plan) fn named(name: &str) -> Option<&'static Aggregate> {
    AGGREGATES.iter().find(|aggregate| aggregate.name == name)
}

impl Aggregate {
    /// Whether its value is one of those it is given, so that their collation counts.
    pub(in crate::plan) fn gives_back(&self) -> bool {
        ["min", "max", "any_value"].contains(&self.name)
    }

    /// Whether the parts are put together by one aggregate, whatever they are parts of.
    pub(in crate::plan) fn is_merged(&self) -> bool {
        matches!(self.part, Merged(_))
    }
}

const GIVES_BACK: Rule = Whole("gives back every value it is given");
const AT_ONCE: Rule = Whole("needs all values of a group in one place");

const fn variance(sample: bool, root: bool) -> Rule {
    Variance { sample, root }
}

const fn row(
    name: &'static str,
    rule: Rule,
    part: Part,
    distinct: Distinct,
    order: Order,
    nothing: Nothing,
) -> Aggregate {
    Aggregate {
        name,
        rule,
        part,
        distinct,
        order,
        nothing,
    }
}

/// `src/include/catalog/pg_aggregate.dat`.
#[rustfmt::skip]
static AGGREGATES: &[Aggregate] = &[
    row("count",                        Count,                 Merged(Reaggregate::Sum),     Counts,     Any,     Zero),
    row("sum",                          Sum,                   Merged(Reaggregate::Sum),     Counts,     Adds,    Null),
    row("avg",                          Avg,                   Part::None,                   Counts,     Adds,    Null),
    row("min",                          Same,                  Merged(Reaggregate::Min),     Idempotent, Chooses, Null),
    row("max",                          Same,                  Merged(Reaggregate::Max),     Idempotent, Chooses, Null),
    row("bool_and",                     Same,                  Merged(Reaggregate::BoolAnd), Idempotent, Any,     Null),
    row("every",                        Same,                  Merged(Reaggregate::BoolAnd), Idempotent, Any,     Null),
    row("bool_or",                      Same,                  Merged(Reaggregate::BoolOr),  Idempotent, Any,     Null),
    row("bit_and",                      Same,                  Merged(Reaggregate::BitAnd),  Idempotent, Any,     Null),
    row("bit_or",                       Same,                  Merged(Reaggregate::BitOr),   Idempotent, Any,     Null),
    row("bit_xor",                      Same,                  Merged(Reaggregate::BitXor),  Counts,     Any,     Null),
    // Which of the values, PostgreSQL leaves open, but it is that of the first row.
    row("any_value",                    Same,                  Part::None,                   Idempotent, Matters, Null),
    row("range_agg",                    Same,                  Part::None,                   Idempotent, Chooses, Null),
    row("range_intersect_agg",          Same,                  Part::None,                   Idempotent, Chooses, Null),
    row("variance",                     variance(true, false), Part::None,                   Counts,     Adds,    Null),
    row("var_samp",                     variance(true, false), Part::None,                   Counts,     Adds,    Null),
    row("var_pop",                      variance(false, false), Part::None,                  Counts,     Adds,    Null),
    row("stddev",                       variance(true, true),  Part::None,                   Counts,     Adds,    Null),
    row("stddev_samp",                  variance(true, true),  Part::None,                   Counts,     Adds,    Null),
    row("stddev_pop",                   variance(false, true), Part::None,                   Counts,     Adds,    Null),
    row("regr_count",                   Count,                 Merged(Reaggregate::Sum),     Counts,     Any,     Zero),
    row("regr_avgx",                    Regression,            Moment,                       Counts,     Rounds,  Null),
    row("regr_avgy",                    Regression,            Moment,                       Counts,     Rounds,  Null),
    row("regr_sxx",                     Regression,            Moment,                       Counts,     Rounds,  Null),
    row("regr_syy",                     Regression,            Moment,                       Counts,     Rounds,  Null),
    row("regr_sxy",                     Regression,            Moment,                       Counts,     Rounds,  Null),
    row("regr_slope",                   Regression,            Part::None,                   Counts,     Rounds,  Null),
    row("regr_intercept",               Regression,            Part::None,                   Counts,     Rounds,  Null),
    row("regr_r2",                      Regression,            Part::None,                   Counts,     Rounds,  Null),
    row("corr",                         Regression,            Part::None,                   Counts,     Rounds,  Null),
    row("covar_pop",                    Regression,            Part::None,                   Counts,     Rounds,  Null),
    row("covar_samp",                   Regression,            Part::None,                   Counts,     Rounds,  Null),
    row("mode",                         AT_ONCE,               Part::None,                   Counts,     Chooses, Null),
    row("percentile_cont",              AT_ONCE,               Part::None,                   Counts,     Chooses, Null),
    row("percentile_disc",              AT_ONCE,               Part::None,                   Counts,     Chooses, Null),
    row("rank",                         AT_ONCE,               Part::None,                   Counts,     Any,     Other),
    row("dense_rank",                   AT_ONCE,               Part::None,                   Counts,     Any,     Other),
    row("percent_rank",                 AT_ONCE,               Part::None,                   Counts,     Any,     Zero),
    row("cume_dist",                    AT_ONCE,               Part::None,                   Counts,     Any,     Other),
    row("array_agg",                    GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("string_agg",                   GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("xmlagg",                       GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("json_agg",                     GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("json_agg_strict",              GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("json_object_agg",              GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("json_object_agg_strict",       GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("json_object_agg_unique",       GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("json_object_agg_unique_strict", GIVES_BACK,           Part::None,                   Counts,     Matters, Null),
    row("jsonb_agg",                    GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("jsonb_agg_strict",             GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("jsonb_object_agg",             GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("jsonb_object_agg_strict",      GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("jsonb_object_agg_unique",      GIVES_BACK,            Part::None,                   Counts,     Matters, Null),
    row("jsonb_object_agg_unique_strict", GIVES_BACK,          Part::None,                   Counts,     Matters, Null),
];

#[cfg(test)]
mod tests {
    use super::*;
    use merganser_local::fixture;

    /// A call of an aggregate over the integers i and n.
    fn call(name: &str) -> String {
        match name {
            "count" => "count(*)".to_owned(),
            "mode" => "mode() WITHIN GROUP (ORDER BY i)".to_owned(),
            "percentile_cont" | "percentile_disc" => {
                format!("{name}(0.5) WITHIN GROUP (ORDER BY i::float8)")
            }
            "rank" | "dense_rank" | "percent_rank" | "cume_dist" => {
                format!("{name}(2) WITHIN GROUP (ORDER BY i)")
            }
            "bool_and" | "bool_or" | "every" => format!("{name}(i > 1)"),
            "string_agg" => "string_agg(i::text, ',')".to_owned(),
            "xmlagg" => "xmlagg(xmlelement(name x, i))".to_owned(),
            "range_agg" | "range_intersect_agg" => format!("{name}(int4range(i, i + 2))"),
            "regr_count" => "regr_count(i, i)".to_owned(),
            // Another order of rows is another order of additions.
            _ if name.starts_with("regr_") || name.starts_with("co") => {
                format!("round({name}(i::float8, (i * i)::float8)::numeric, 9)")
            }
            _ if name.contains("object") => format!("{name}('k' || i || ',' || n, i)"),
            _ => format!("{name}(i)"),
        }
    }

    #[test]
    fn the_table_is_what_a_server_has_and_does() {
        let Some(server) = fixture::server() else {
            return;
        };
        let run = |sql: &str| server.query("postgres", sql).unwrap();
        let names = run(
            "SELECT DISTINCT proname FROM pg_proc WHERE prokind = 'a' AND pronamespace = \
             'pg_catalog'::regnamespace ORDER BY 1",
        );
        let names: Vec<String> = names.into_iter().flatten().flatten().collect();
        let unknown = names.iter().filter(|name| named(name).is_none());
        assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&String>::new());
        for aggregate in AGGREGATES
            .iter()
            .filter(|it| names.iter().any(|name| name == it.name))
        {
            let (name, call) = (aggregate.name, call(aggregate.name));
            let over = |rows: &str| {
                let sql = format!("SELECT ({call})::text FROM ({rows}) AS v (i, n)");
                run(&sql).remove(0).remove(0)
            };
            let nothing = match over("SELECT 1, 1 WHERE false").as_deref() {
                None => Null,
                Some("0") => Zero,
                Some(_) => Other,
            };
            assert_eq!(nothing, aggregate.nothing, "{name} over nothing");
            let values = "VALUES (3, 1), (1, 2), (7, 3), (3, 4), (4, 5)";
            let turned = "VALUES (4, 5), (3, 4), (7, 3), (1, 2), (3, 1)";
            if aggregate.order != Matters {
                assert_eq!(over(turned), over(values), "{name} in another order");
            }
            let doubled = over(&format!("{values} UNION ALL {values}"));
            if aggregate.distinct == Idempotent {
                assert_eq!(doubled, over(values), "{name} of values that come twice");
            }
            if let Merged(by) = aggregate.part {
                let parts =
                    "SELECT v.i, v.n FROM (VALUES (3, 1), (1, 2), (7, 3), (3, 4), (4, 5)) v (i, n)";
                let merged = run(&format!(
                    "SELECT {}(p.p)::text FROM (SELECT {call} AS p FROM ({parts}) AS v (i, n) \
                     GROUP BY n % 2) AS p",
                    by.name()
                ));
                assert_eq!(merged[0][0], over(values), "{name} of parts");
            }
        }
    }

    #[test]
    fn an_aggregate_without_a_row_is_taken_for_the_worst() {
        assert!(named("st_union").is_none());
        assert!(named("json_objectagg").is_none());
    }

    #[test]
    fn each_has_one_row() {
        for (index, aggregate) in AGGREGATES.iter().enumerate() {
            let mut others = AGGREGATES[index + 1..].iter();
            assert!(
                others.all(|it| it.name != aggregate.name),
                "{}",
                aggregate.name
            );
        }
    }
}
