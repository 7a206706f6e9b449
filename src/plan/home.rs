//! Statements about a server: they read system catalogs or no relation at all, and one shard answers
//! them, of itself.
//!
//! Exact because the user's own text runs, as it is, on one PostgreSQL. That it tells of this one and
//! of no other is what the caller has asked for. Does not hold when the statement reads a table or view
//! of users, or calls what does: then it is planned as any other, and refused for its catalogs.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{Query, SetExpr, TableFactor};

use super::naming::{folded, parts};
use super::{
    Argument, Arm, Exactness, Merge, Place, Plan, Question, Sql, Step, Surroundings, calls, rewrite,
};
use crate::catalog::{Catalog, RelationKind};
use crate::error::Result;

/// The shard that answers: the first of the topology.
const HOME: usize = 0;

/// The plan of a statement about a server; `None` for one that reads tables or views of users.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a function that reads such tables
/// itself, or changes something.
pub(super) fn plan(question: &Question<'_>, query: &Query) -> Result<Option<Plan>> {
    let Some(home) = question.topology.shards().get(HOME) else {
        return Ok(None);
    };
    if !is_about_server(query, question.catalog) {
        return Ok(None);
    }
    calls::check_home(query, question.topology, question.catalog)?;
    let step = Step {
        name: "m1".to_owned(),
        sql: Sql::verbatim(question.sql),
        uses: Vec::new(),
        place: Place::Shards(vec![HOME]),
        merge: Merge::all(),
        columns: Vec::new(),
    };
    Ok(Some(Plan {
        steps: vec![step],
        columns: question.columns.to_vec(),
        exactness: Exactness::Exact,
        arm: Arm::Single,
        reasons: vec![format!(
            "it reads no table of users: {} answers, of itself",
            home.name()
        )],
        argument: Argument {
            premises: vec![vec![
                "the user's own text runs on one PostgreSQL, which tells of itself".to_owned(),
            ]],
            judged: Vec::new(),
        },
        decimals: false,
        surroundings: Surroundings::default(),
    }))
}

/// Whether all relations that a statement names are common table expressions of its own, or those that
/// every server has.
fn is_about_server(query: &Query, catalog: &Catalog) -> bool {
    let mut ctes = HashSet::new();
    rewrite::queries(query, |query| {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        ctes.extend(with.map(|cte| folded(&cte.alias.name)));
    });
    let mut found = true;
    rewrite::queries(query, |query| found &= !holds_table(&query.body));
    rewrite::factors(query, |factor| {
        let TableFactor::Table { name, args, .. } = factor else {
            return;
        };
        if args.is_some() {
            // `ONLY (t)` is read as a call, and so is any function.
            found &= !parts(name).iter().any(|part| part == "only");
            return;
        }
        let relation = match &parts(name)[..] {
            [name] => catalog.relation(None, name),
            [schema, name] => catalog.relation(Some(schema), name),
            _ => return found = false,
        };
        found &= match relation {
            // The contents of large objects are data.
            Some(relation) => {
                relation.kind == RelationKind::Other && relation.name != "pg_largeobject"
            }
            None => parts(name).len() == 1 && ctes.contains(&parts(name)[0]),
        };
    });
    found
}

/// Whether `TABLE t` is a part, which is no item of any FROM.
fn holds_table(body: &SetExpr) -> bool {
    match body {
        SetExpr::Table(_) => true,
        SetExpr::SetOperation { left, right, .. } => holds_table(left) || holds_table(right),
        _ => false,
    }
}
