//! What the functions that a statement calls mean for running it in parts.

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArguments, Visit};

use super::{bind, refused, rewrite};
use crate::catalog::{Catalog, FunctionKind, Origin, Volatility};
use crate::error::Result;

/// Functions that read tables, by name or by query text: a shard would see its own rows only.
const READS_TABLES: [&str; 19] = [
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "table_to_xml",
    "table_to_xmlschema",
    "table_to_xml_and_xmlschema",
    "schema_to_xml",
    "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xmlschema",
    "database_to_xml_and_xmlschema",
    "ts_stat",
    "dblink",
    "crosstab",
    "lo_get",
    "nextval",
];

/// Volatile functions each of whose values is independent of every other: where a row is made does
/// not matter.
const INDEPENDENT: [&str; 4] = [
    "random",
    "random_normal",
    "gen_random_uuid",
    "uuid_generate_v4",
];

/// Refuses functions whose answer depends on which database evaluates them.
///
/// # Errors
/// Names the function, why, and what to do.
pub(super) fn check<T: Visit>(tree: &T, catalog: &Catalog) -> Result<()> {
    let mut fault = None;
    rewrite::each(tree, |expr| {
        if let Expr::Function(function) = expr
            && fault.is_none()
        {
            fault = check_one(function, catalog).err();
        }
    });
    fault.map_or(Ok(()), Err)
}

fn check_one(function: &Function, catalog: &Catalog) -> Result<()> {
    let (schema, name) = name_of(function);
    if READS_TABLES.contains(&&*name) {
        return Err(refused(
            format!(
                "the function {name}, which reads tables itself: each shard would read its own rows only"
            ),
            "write what it reads as a part of the query",
        ));
    }
    if tells_of_server(&name) {
        return Err(refused(
            format!(
                "the function {name}, which tells of the server or the session, not of the data"
            ),
            "ask a shard for it: --fan-out",
        ));
    }
    for found in catalog.functions(schema.as_deref(), &name) {
        if found.origin != Origin::User {
            continue;
        }
        if let Some(difference) = &found.difference {
            return Err(refused(
                format!("the function {name}: {difference}"),
                "make the function the same on all shards",
            ));
        }
        if found.kind == FunctionKind::Normal && found.volatility != Volatility::Immutable {
            return Err(refused(
                format!(
                    "the function {name}, which is not declared IMMUTABLE: it may read tables, of \
                     which one database has a part only"
                ),
                "declare it IMMUTABLE if it reads no table, or write what it does into the query",
            ));
        }
    }
    Ok(())
}

/// Whether two evaluations may give different values.
pub(super) fn is_volatile<T: Visit>(tree: &T, catalog: &Catalog) -> bool {
    rewrite::any(tree, |expr| match expr {
        Expr::Function(function) => volatility(function, catalog) == Volatility::Volatile,
        _ => false,
    })
}

/// Whether the value may depend on which server evaluates it, beyond chance: what is volatile but
/// for functions like `random`.
pub(super) fn depends_on_server<T: Visit>(tree: &T, catalog: &Catalog) -> bool {
    rewrite::any(tree, |expr| match expr {
        Expr::Function(function) => {
            volatility(function, catalog) == Volatility::Volatile
                && !INDEPENDENT.contains(&&*name_of(function).1)
        }
        _ => false,
    })
}

/// Whether a function tells of the server, the session or the transaction, which are not those of one
/// PostgreSQL that holds all rows.
fn tells_of_server(name: &str) -> bool {
    const OF_DATA: [&str; 6] = [
        "pg_typeof",
        "pg_collation_for",
        "pg_column_size",
        "pg_size_pretty",
        "pg_size_bytes",
        "pg_sleep",
    ];
    SERVER.contains(&name)
        || (name.starts_with("pg_") || name.starts_with("txid_")) && !OF_DATA.contains(&name)
}

const SERVER: [&str; 17] = [
    "current_database",
    "current_catalog",
    "version",
    "inet_server_addr",
    "inet_server_port",
    "inet_client_addr",
    "inet_client_port",
    "set_config",
    "setval",
    "currval",
    "lastval",
    "setseed",
    "to_regclass",
    "to_regtype",
    "to_regproc",
    "lo_put",
    "lo_import",
];

fn volatility(function: &Function, catalog: &Catalog) -> Volatility {
    let (schema, name) = name_of(function);
    let found = catalog.functions(schema.as_deref(), &name);
    found
        .map(|function| function.volatility)
        .max()
        .unwrap_or(Volatility::Immutable)
}

/// Whether the function may be one that neither PostgreSQL nor an extension brings.
pub(super) fn is_user_defined(function: &Function, catalog: &Catalog) -> bool {
    let (schema, name) = name_of(function);
    let mut found = catalog.functions(schema.as_deref(), &name);
    found.any(|function| function.origin == Origin::User)
}

/// Whether a call aggregates the rows of its query.
pub(super) fn is_aggregate(function: &Function, catalog: &Catalog) -> bool {
    function.over.is_none() && is_aggregate_name(function, catalog)
}

/// Whether the function is an aggregate, were it not for an OVER.
pub(super) fn is_aggregate_name(function: &Function, catalog: &Catalog) -> bool {
    let (schema, name) = name_of(function);
    let mut found = catalog.functions(schema.as_deref(), &name);
    found.any(|function| function.kind == FunctionKind::Aggregate)
}

/// Whether any function may be called, which may be an aggregate, or return a set.
pub(super) fn may_call<T: Visit>(tree: &T) -> bool {
    rewrite::any(tree, |expr| {
        // `(row).name` may be a call too.
        matches!(expr, Expr::Function(_) | Expr::CompoundFieldAccess { .. })
    })
}

/// Whether an expression is `ARRAY(SELECT ..)`.
pub(super) fn is_array_of_rows(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function)
        if matches!(function.args, FunctionArguments::Subquery(_)))
}

/// Whether the result depends on the order in which rows are read, as that of `array_agg`.
pub(super) fn depends_on_row_order<T: Visit>(tree: &T, catalog: &Catalog) -> bool {
    rewrite::any(tree, |expr| match expr {
        Expr::Function(function) if function.over.is_some() => true,
        Expr::Function(function) if is_aggregate_name(function, catalog) => {
            !ORDERLESS.contains(&&*name_of(function).1)
        }
        _ => false,
    })
}

/// Aggregates whose result does not depend on the order of rows, but for rounding.
const ORDERLESS: [&str; 38] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "bool_and",
    "bool_or",
    "every",
    "bit_and",
    "bit_or",
    "bit_xor",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "variance",
    "var_pop",
    "var_samp",
    "corr",
    "covar_pop",
    "covar_samp",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "percentile_cont",
    "percentile_disc",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "range_agg",
    "range_intersect_agg",
    "mode",
];

fn name_of(function: &Function) -> (Option<String>, String) {
    let mut parts = bind::parts(&function.name);
    let name = parts.pop().unwrap_or_default();
    (parts.pop(), name)
}

/// The name of a function, without its schema.
pub(super) fn name(function: &Function) -> String {
    name_of(function).1
}
