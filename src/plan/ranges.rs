//! Whether a step may be read in parts: ranges of a table's blocks, by several readers.
//!
//! Exact because every row of the step comes from one row of the table alone, and each row of the table
//! is in one range; or because the step's rows are partial aggregates that are merged again, for which a
//! range is one more shard. Does not hold when a clause looks at rows of other ranges (`LIMIT`, `DISTINCT`,
//! windows, `ORDER BY`), when a subquery or a join reads more than the range, nor for aggregates that are
//! right only where all equal values are on one shard (`DISTINCT` by the shard key). Whether a function is
//! an aggregate, and what is a view, the server is asked.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, DuplicateTreatment, Expr, FunctionArguments, GroupByExpr, SetExpr,
    TableFactor, Visit, Visitor,
};

use super::facts::aggregates::{self, Aggregate};
use super::{Exactness, Merge, Place, Plan, Step, sql};
use crate::statement::Ranged;

/// What becomes of the rows of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// They are rows of the answer.
    Final,
    /// They are aggregated again.
    Merged,
}

/// The statement with places for a range, or why it is read by one reader. Call it on a [deep
/// stack](super::thread).
pub(crate) fn ranged(text: &str, rows: Rows) -> Result<Ranged, String> {
    let unread = |_| "it is read in one piece".to_owned();
    let query = sql::parse(text).map_err(unread)?;
    sql::prints_faithfully(text, &query).map_err(|_| "it is read in one piece".to_owned())?;
    if text.contains(FROM) || text.contains(TO) {
        return Err("it has a text that stands for a range".to_owned());
    }
    let mut query = query;
    let functions = functions(&query, rows)?;
    let is_grouped = rows == Rows::Merged;
    let ast::Query {
        with,
        body,
        order_by,
        limit_clause,
        fetch,
        locks,
        for_clause,
        ..
    } = &mut query;
    for (is_there, clause) in [
        (with.is_some(), "WITH"),
        (order_by.is_some(), "ORDER BY"),
        (limit_clause.is_some() || fetch.is_some(), "LIMIT"),
        (!locks.is_empty() || for_clause.is_some(), "FOR"),
    ] {
        if is_there {
            return Err(format!("it has {clause}"));
        }
    }
    let SetExpr::Select(select) = &mut **body else {
        return Err("it is not one SELECT of a table".to_owned());
    };
    for (is_there, clause) in [
        (select.distinct.is_some(), "DISTINCT"),
        (select.having.is_some(), "HAVING"),
        (
            !select.named_window.is_empty() || select.qualify.is_some(),
            "WINDOW",
        ),
        (select.into.is_some() || select.top.is_some(), "INTO"),
    ] {
        if is_there {
            return Err(format!("it has {clause}"));
        }
    }
    match &select.group_by {
        GroupByExpr::Expressions(keys, sets) if sets.is_empty() => {
            if !keys.is_empty() && !is_grouped {
                return Err("it has GROUP BY, and its groups are final".to_owned());
            }
        }
        _ => return Err("it has GROUPING SETS".to_owned()),
    }
    let [from] = select.from.as_slice() else {
        return Err("it does not read one table alone".to_owned());
    };
    if !from.joins.is_empty() {
        return Err("it has a join".to_owned());
    }
    let (name, alias) = match &from.relation {
        TableFactor::Table {
            name,
            alias,
            args: None,
            sample: None,
            with_ordinality: false,
            version: None,
            ..
        } => (name, alias),
        _ => return Err("it does not read one table alone".to_owned()),
    };
    // Nothing else stands with the name.
    if from.relation.to_string() != shown(name, alias.as_ref()) {
        return Err("it does not read a table as it is".to_owned());
    }
    // The parser takes it for the name of a table.
    if name.to_string().eq_ignore_ascii_case("only") {
        return Err("it reads ONLY a table".to_owned());
    }
    if name.0.len() > 2 {
        return Err("it names a table with its database".to_owned());
    }
    let last = name.0.last().map(ToString::to_string);
    let called = alias.as_ref().map(|alias| alias.name.to_string()).or(last);
    let called = called.ok_or("it reads a table without a name")?;
    let table = name.to_string();
    let condition = format!(
        "{called}.ctid >= '{FROM}'::pg_catalog.tid AND {called}.ctid < '{TO}'::pg_catalog.tid"
    );
    let condition = sql::made_expr(&condition).map_err(|error| error.message().to_owned())?;
    select.selection = Some(match select.selection.take() {
        None => condition,
        Some(own) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(own))),
            op: BinaryOperator::And,
            right: Box::new(condition),
        },
    });
    let printed = query.to_string();
    let pieces = printed.split_once(FROM).and_then(|(before, rest)| {
        let (between, after) = rest.split_once(TO)?;
        Some([before, between, after].map(str::to_owned))
    });
    Ok(Ranged {
        table,
        pieces: pieces.ok_or("its text has no place for a range")?,
        is_grouped,
        functions: functions.into_iter().collect(),
    })
}

impl Plan {
    /// For each step, how it is read in ranges, or why it is not. Call it on a [deep
    /// stack](super::thread).
    pub(crate) fn ranged(&self, in_shard_order: bool) -> Vec<Result<Ranged, String>> {
        let last = self.steps.len().saturating_sub(1);
        let steps = self.steps.iter().enumerate();
        steps
            .map(|(index, step)| self.ranged_step(step, index == last, in_shard_order))
            .collect()
    }

    fn ranged_step(
        &self,
        step: &Step,
        is_last: bool,
        in_shard_order: bool,
    ) -> Result<Ranged, String> {
        let is_on_shards = matches!(&step.place, Place::Shards(shards) if !shards.is_empty());
        if !is_on_shards {
            return Err("what it reads is small, or the same everywhere".to_owned());
        }
        if !(step.uses.is_empty() && step.sql.with.is_empty()) {
            return Err("it reads rows of other steps, or has WITH".to_owned());
        }
        if self.exactness == Exactness::ExactUpToFloatOrder {
            return Err("it adds floating-point numbers, in the same order each time".to_owned());
        }
        if in_shard_order {
            return Err("rows in the order of the shard are asked for".to_owned());
        }
        let rows = match &step.merge {
            Merge::Concatenate {
                skip: 0,
                fetch: None,
            } if is_last => Rows::Final,
            Merge::Aggregate { .. } => Rows::Merged,
            Merge::Concatenate { .. } if is_last => return Err("it has LIMIT".to_owned()),
            Merge::Concatenate { .. } => {
                return Err("its rows are handed over in the order of the shards".to_owned());
            }
            Merge::Ordered { .. } => return Err("it has ORDER BY".to_owned()),
        };
        ranged(&step.sql.body, rows)
    }
}

/// Stand for the ends of a range; they are no blocks.
const FROM: &str = "(merganser_from,0)";
const TO: &str = "(merganser_to,0)";

fn shown(name: &ast::ObjectName, alias: Option<&ast::TableAlias>) -> String {
    match alias {
        None => name.to_string(),
        Some(alias) => format!("{name} {alias}"),
    }
}

/// The names of functions that may be aggregates which do not merge: all but those that do.
fn functions(query: &ast::Query, rows: Rows) -> Result<BTreeSet<String>, String> {
    let mut calls = Calls {
        rows,
        queries: 0,
        names: BTreeSet::new(),
    };
    match Visit::visit(query, &mut calls) {
        ControlFlow::Break(reason) => Err(reason),
        ControlFlow::Continue(()) => Ok(calls.names),
    }
}

struct Calls {
    rows: Rows,
    queries: usize,
    names: BTreeSet<String>,
}

impl Visitor for Calls {
    type Break = String;

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<String> {
        self.queries += 1;
        match self.queries {
            1 => ControlFlow::Continue(()),
            _ => ControlFlow::Break("it has a subquery".to_owned()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        let Expr::Function(call) = expr else {
            return ControlFlow::Continue(());
        };
        if call.over.is_some() {
            return ControlFlow::Break("it has a window".to_owned());
        }
        let is_distinct = match &call.args {
            FunctionArguments::List(list) => {
                list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
                    || !list.clauses.is_empty()
            }
            FunctionArguments::Subquery(_) => true,
            FunctionArguments::None => false,
        };
        if is_distinct || !call.within_group.is_empty() {
            return ControlFlow::Break("an aggregate of it looks at all rows together".to_owned());
        }
        let name = call.name.0.last().and_then(|part| part.as_ident());
        let name = name.map(sql::identifier_name).unwrap_or_default();
        // Merged whatever the parts are.
        let is_merged = aggregates::named(&name).is_some_and(Aggregate::is_merged);
        if !(self.rows == Rows::Merged && is_merged) {
            self.names.insert(name);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sql: &str, rows: Rows) -> Result<String, String> {
        let ranged = ranged(sql, rows)?;
        Ok(ranged.sql(7, 9))
    }

    #[test]
    fn a_range_is_a_condition_on_the_one_table() {
        let range = "ctid >= '(7,0)'::pg_catalog.tid AND";
        for (sql, part) in [
            ("SELECT * FROM t", "FROM t WHERE t.ctid >="),
            (
                "SELECT a FROM s.\"T t\" WHERE a = 1 OR b",
                "WHERE (a = 1 OR b) AND \"T t\".ctid >=",
            ),
            ("SELECT x.a + 1 FROM s.t AS x", "WHERE x.ctid >="),
            ("SELECT lower(a) FROM t", "t.ctid < '(9,0)'::pg_catalog.tid"),
        ] {
            let found = text(sql, Rows::Final).unwrap();
            assert!(found.contains(part) && found.contains(range), "{found}");
        }
        assert_eq!(
            ranged("SELECT lower(a) FROM t", Rows::Final)
                .unwrap()
                .functions,
            ["lower"]
        );
        let sum = "SELECT a, sum(b), count(*) FROM t GROUP BY a";
        assert!(ranged(sum, Rows::Merged).unwrap().functions.is_empty());
        assert!(text(sum, Rows::Final).unwrap_err().contains("GROUP BY"));
        // The server is asked what these are.
        let asked = ranged("SELECT sum(b), f(c) FROM t", Rows::Final).unwrap();
        assert_eq!(asked.functions, ["f", "sum"]);
    }

    #[test]
    fn what_looks_at_more_than_a_row_has_one_reader() {
        for (sql, reason) in [
            ("SELECT a FROM t LIMIT 1", "LIMIT"),
            ("SELECT a FROM t ORDER BY a", "ORDER BY"),
            ("SELECT DISTINCT a FROM t", "DISTINCT"),
            ("SELECT a FROM t FETCH FIRST 1 ROW ONLY", "LIMIT"),
            ("SELECT a FROM t, u", "one table"),
            ("SELECT a FROM t JOIN u ON true", "join"),
            ("SELECT a FROM (SELECT a FROM t) t", "subquery"),
            ("SELECT a FROM t WHERE a IN (SELECT b FROM u)", "subquery"),
            ("SELECT (SELECT 1) FROM t", "subquery"),
            ("WITH t AS (SELECT 1 AS a) SELECT a FROM t", "subquery"),
            ("SELECT a FROM t UNION ALL SELECT a FROM t", "one SELECT"),
            ("VALUES (1)", "one SELECT"),
            ("SELECT 1", "one table"),
            ("SELECT a FROM f(1) AS t", "one table"),
            ("SELECT row_number() OVER () FROM t", "window"),
            ("SELECT count(DISTINCT a) FROM t", "together"),
            ("SELECT a FROM ONLY t", ""),
        ] {
            let found = text(sql, Rows::Final).unwrap_err();
            assert!(found.contains(reason), "{sql}: {found}");
        }
        let having = "SELECT a, count(*) FROM t GROUP BY a HAVING count(*) > 1";
        assert!(text(having, Rows::Merged).unwrap_err().contains("HAVING"));
        let sets = "SELECT a, count(*) FROM t GROUP BY ROLLUP (a)";
        assert!(text(sets, Rows::Final).is_err());
    }
}
