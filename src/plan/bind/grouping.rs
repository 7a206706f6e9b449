//! `GROUP BY DISTINCT ROLLUP (a, b), ROLLUP (a)`: the grouping sets, each once.
//!
//! All sets are written out, as `expand_grouping_sets` of `src/backend/parser/parse_agg.c` does it: of every
//! item of GROUP BY one set, and all of these together. Two sets are the same if they have the same keys, in
//! whatever order and number. PostgreSQL takes two keys for one where they are the same tree: columns tell that
//! by their names, and other expressions where no cast that does nothing can hide in one of them.

use std::collections::{BTreeSet, HashSet};

use datafusion::sql::sqlparser::ast::{Expr, SelectItem, Value};

use crate::error::{Error, Result};
use crate::plan::names::Names;
use crate::plan::naming::as_column;
use crate::plan::rewrite::{bare, item_expr};
use crate::plan::{refused, thread};

/// The most sets that PostgreSQL takes.
const MOST_SETS: usize = 4096;

/// The bound keys of a GROUP BY DISTINCT, as those of a GROUP BY.
///
/// # Errors
/// Keys of which only PostgreSQL can tell whether they are the same.
pub(super) fn distinct_sets(keys: Vec<Expr>, projection: &[SelectItem]) -> Result<Vec<Expr>> {
    if !keys.iter().any(is_of_sets) {
        return Ok(keys);
    }
    let mut sets: Vec<Vec<Expr>> = vec![Vec::new()];
    for key in keys {
        thread::check()?;
        let own = sets_of(key)?;
        if sets.len() * own.len() > MOST_SETS {
            return Err(too_many());
        }
        let with = |set: &Vec<Expr>| {
            let whole = own.iter().map(|more| [&set[..], more].concat());
            whole.collect::<Vec<_>>()
        };
        sets = sets.iter().flat_map(with).collect();
    }
    let mut different: Vec<Expr> = Vec::new();
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for set in sets {
        let mut numbers = BTreeSet::new();
        for key in set {
            numbers.insert(number_of(written_out(key, projection), &mut different)?);
        }
        if seen.insert(numbers.clone()) {
            kept.push(numbers);
        }
    }
    let set = |numbers: BTreeSet<usize>| {
        let keys = numbers.into_iter();
        keys.filter_map(|number| different.get(number).cloned())
            .collect()
    };
    Ok(vec![Expr::GroupingSets(
        kept.into_iter().map(set).collect(),
    )])
}

fn is_of_sets(key: &Expr) -> bool {
    matches!(key, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_))
}

/// The sets that an item of GROUP BY stands for.
fn sets_of(key: Expr) -> Result<Vec<Vec<Expr>>> {
    Ok(match key {
        Expr::GroupingSets(sets) => sets,
        Expr::Rollup(items) => (0..=items.len())
            .rev()
            .map(|most| items[..most].concat())
            .collect(),
        // 2^12 sets are the most.
        Expr::Cube(items) if items.len() > 12 => return Err(too_many()),
        Expr::Cube(items) => (0..1_usize << items.len())
            .rev()
            .map(|chosen| {
                let items = items.iter().enumerate();
                let chosen = items.filter(|(index, _)| chosen & (1 << index) != 0);
                chosen.flat_map(|(_, keys)| keys.clone()).collect()
            })
            .collect(),
        Expr::Tuple(keys) => vec![keys],
        other => vec![vec![other]],
    })
}

/// A key that stands for a column of the output by its number, as that column.
fn written_out(key: Expr, projection: &[SelectItem]) -> Expr {
    if let Expr::Value(value) = bare(&key)
        && let Value::Number(digits, _) = &value.value
        && let Ok(number) = digits.parse::<usize>()
        && let Some(item) = number.checked_sub(1).and_then(|at| projection.get(at))
        && let Some(expr) = item_expr(item)
        // A constant would be a number again.
        && !matches!(bare(&expr), Expr::Value(_))
    {
        return expr;
    }
    key
}

/// Which of the different keys this is.
fn number_of(key: Expr, different: &mut Vec<Expr>) -> Result<usize> {
    let key = match key {
        Expr::Nested(inner) => bare(&inner).clone(),
        other => other,
    };
    if let Some(known) = different.iter().position(|known| *known == key) {
        return Ok(known);
    }
    let may_be = |known: &Expr| {
        let are_columns = as_column(known).is_some() && as_column(&key).is_some();
        !are_columns && Names::of(known).columns() == Names::of(&key).columns()
    };
    if let Some(known) = different.iter().find(|known| may_be(known)) {
        return Err(refused(
            format!("GROUP BY DISTINCT with {known} and {key}, which may be one key"),
            "write the sets without DISTINCT, each once: GROUP BY GROUPING SETS ((a, b), (a), ())",
        ));
    }
    different.push(key);
    Ok(different.len() - 1)
}

fn too_many() -> Error {
    refused(
        format!("GROUP BY DISTINCT of more than {MOST_SETS} grouping sets"),
        "write the sets that are needed: GROUP BY GROUPING SETS ((a, b), (a), ())",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sql;
    use datafusion::sql::sqlparser::ast::{GroupByExpr, SetExpr};

    fn written(text: &str) -> String {
        let mut query =
            sql::parse(&format!("select r.b, r.c + 1, 1 from r group by {text}")).unwrap();
        let SetExpr::Select(select) = &mut *query.body else {
            panic!("{text}");
        };
        let GroupByExpr::Expressions(keys, _) = &mut select.group_by else {
            panic!("{text}");
        };
        assert!(sql::take_distinct(keys), "{text}");
        match distinct_sets(keys.clone(), &select.projection) {
            Ok(keys) => keys
                .iter()
                .map(Expr::to_string)
                .collect::<Vec<_>>()
                .join(", "),
            Err(error) => format!("refused: {error}"),
        }
    }

    #[test]
    fn each_set_is_kept_once() {
        for (text, expected) in [
            ("distinct r.a, r.b", "r.a, r.b"),
            (
                "distinct rollup (r.a, r.b), rollup (r.a)",
                "GROUPING SETS ((r.a, r.b), (r.a), ())",
            ),
            (
                "distinct cube (r.a, r.b), r.b",
                "GROUPING SETS ((r.a, r.b), (r.b))",
            ),
            (
                "distinct grouping sets ((r.a, r.b), (r.b, r.a), ((r.a)), (), ()), (r.a, r.a)",
                "GROUPING SETS ((r.a, r.b), (r.a))",
            ),
            (
                "distinct rollup (1, (r.b, r.c)), rollup (r.b)",
                "GROUPING SETS ((r.b, r.c), (r.b), ())",
            ),
            (
                "distinct rollup (r.c + 1, r.b), rollup (2)",
                "GROUPING SETS ((r.c + 1, r.b), (r.c + 1), ())",
            ),
        ] {
            assert_eq!(written(text), expected, "{text}");
        }
        for text in [
            "distinct rollup (r.a, r.a::int)",
            "distinct rollup (r.a + 1), cube (1 + r.a)",
            "distinct cube (3), cube ('x')",
        ] {
            assert!(written(text).contains("may be one key"), "{text}");
        }
        let columns = |many: usize| {
            let names: Vec<_> = (0..many).map(|n| format!("r.c{n}")).collect();
            format!("distinct cube ({})", names.join(", "))
        };
        assert!(written(&columns(13)).contains("4096"));
        assert!(written(&columns(3)).starts_with("GROUPING SETS ((r.c0, r.c1, r.c2), "));
    }
}
