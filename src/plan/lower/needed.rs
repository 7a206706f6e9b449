//! Which columns a statement names.

use std::collections::{BTreeSet, HashMap, HashSet};

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem,
    SelectItemQualifiedWildcardKind,
};

use crate::plan::bind::{self, folded};
use crate::plan::rewrite;

/// Which columns of each relation a statement names.
#[derive(Debug, Default)]
pub(super) struct Needed {
    pub(super) columns: HashMap<String, BTreeSet<String>>,
    pub(super) whole: HashSet<String>,
    /// `*` stands somewhere where it could not be spelled out.
    pub(super) everything: bool,
}

impl Needed {
    pub(super) fn of(query: &Query) -> Self {
        let mut needed = Self::default();
        rewrite::each(query, |expr| match expr {
            Expr::CompoundIdentifier(parts) => {
                if let [alias, column] = &parts[..] {
                    let columns = needed.columns.entry(folded(alias)).or_default();
                    columns.insert(folded(column));
                }
            }
            Expr::Identifier(name) => {
                needed.whole.insert(folded(name));
            }
            Expr::QualifiedWildcard(name, _) => needed.whole.extend(bind::parts(name)),
            Expr::Function(Function {
                args: FunctionArguments::List(list),
                ..
            }) => {
                for arg in &list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = arg {
                        needed.whole.extend(bind::parts(name));
                    }
                }
            }
            _ => {}
        });
        rewrite::selects(query, |select| {
            for item in &select.projection {
                match item {
                    SelectItem::Wildcard(_) => needed.everything = true,
                    SelectItem::QualifiedWildcard(
                        SelectItemQualifiedWildcardKind::ObjectName(name),
                        _,
                    ) => needed.whole.extend(bind::parts(name)),
                    _ => {}
                }
            }
        });
        needed
    }

    pub(super) fn is_needed(&self, alias: &str, column: &str) -> bool {
        self.everything
            || self.whole.contains(alias)
            || self
                .columns
                .get(alias)
                .is_some_and(|columns| columns.contains(column))
    }
}
