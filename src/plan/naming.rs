//! Identifiers and the names made of them, as they are read and as they are written.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, TableAlias, Value,
    VisitMut, VisitorMut,
};

use super::{rewrite, sql};

/// The name of a column that has none.
pub(super) const NAMELESS: &str = "?column?";

/// How an identifier reads: folded unless it is quoted.
pub(super) fn folded(ident: &Ident) -> String {
    sql::identifier_name(ident)
}

/// An identifier that reads as `name`.
pub(super) fn ident(name: &str) -> Ident {
    let simple = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && !is_reserved(name);
    match simple {
        true => Ident::new(name),
        false => Ident::with_quote('"', name),
    }
}

/// Whether a name has to be quoted though its letters are plain: any word that the parser knows.
fn is_reserved(name: &str) -> bool {
    use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;
    ALL_KEYWORDS
        .binary_search(&&*name.to_ascii_uppercase())
        .is_ok()
}

/// `alias.column`.
pub(super) fn column(alias: &str, name: &str) -> Expr {
    Expr::CompoundIdentifier(vec![ident(alias), ident(name)])
}

/// What `alias.column` names, if an expression is that.
pub(super) fn as_column(expr: &Expr) -> Option<(String, String)> {
    match rewrite::bare(expr) {
        Expr::CompoundIdentifier(parts) => match &parts[..] {
            [alias, column] => Some((folded(alias), folded(column))),
            _ => None,
        },
        _ => None,
    }
}

/// The parts of a name.
pub(super) fn parts(name: &ObjectName) -> Vec<String> {
    name.0
        .iter()
        .filter_map(|part| match part {
            ObjectNamePart::Identifier(ident) => Some(folded(ident)),
            ObjectNamePart::Function(_) => None,
        })
        .collect()
}

/// A table alias, with columns if there are any.
pub(super) fn table_alias(name: &str) -> TableAlias {
    TableAlias {
        explicit: true,
        name: ident(name),
        columns: Vec::new(),
        at: None,
    }
}

/// Writes the names of columns that come from a subquery: what stands in its place later has another.
pub(super) fn name_subqueries(query: &mut Query) {
    struct Namer;
    impl VisitorMut for Namer {
        type Break = ();

        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) = item
                    && rewrite::has_query(expr)
                    && let Some(name) = sql::output_name(expr)
                {
                    let expr = std::mem::replace(expr, Expr::value(Value::Null));
                    let alias = ident(&name);
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(query, &mut Namer);
}

/// The name of a select item; `None` for what stands for several columns.
pub(super) fn item_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => sql::output_name(expr),
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    }
}
