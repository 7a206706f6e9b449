//! Derived tables that the last step names more than once: a common table expression, computed once.
//!
//! Binding puts a common table expression in the place of each name of it, and after that the one server
//! would aggregate its rows once for each; in a correlated subquery once for each row outside.
//! *Exact because* PostgreSQL computes a common table expression that is named more than once by itself,
//! before what names it. *Does not hold when* it names anything outside, or the statement is volatile.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Cte, GroupByExpr, Query, SetExpr, TableAlias, TableFactor, With,
};

use super::Planner;
use crate::plan::naming::{self, ident};
use crate::plan::{build, rewrite};

impl Planner<'_> {
    /// Writes each grouped derived table that stands in a query more than once in front of it.
    pub(super) fn name_repeated(&self, query: &mut Query) {
        let is_recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        if !self.reuses || is_recursive {
            return;
        }
        let mut found: HashMap<String, usize> = HashMap::new();
        rewrite::factors(&*query, |factor| {
            if let Some(derived) = self.repeatable(factor) {
                *found.entry(derived.to_string()).or_default() += 1;
            }
        });
        found.retain(|_, count| *count > 1);
        if found.is_empty() {
            return;
        }
        let mut named: Vec<(String, Query)> = Vec::new();
        rewrite::each_factor(query, |factor| {
            let Some(derived) = self.repeatable(factor) else {
                return;
            };
            let text = derived.to_string();
            if !found.contains_key(&text) {
                return;
            }
            let known = named.iter().position(|(known, _)| *known == text);
            let number = known.unwrap_or_else(|| {
                named.push((text, derived.clone()));
                named.len() - 1
            });
            let name = ident(&self.repeated_name(number));
            if let TableFactor::Derived { alias, .. } = factor {
                let alias = alias.take();
                *factor = build::table(name.into(), alias);
            }
        });
        let with = query.with.get_or_insert_with(|| With {
            with_token: AttachedToken::empty(),
            recursive: false,
            cte_tables: Vec::new(),
        });
        let ctes = named.into_iter().enumerate();
        let ctes = ctes.map(|(number, (_, query))| Cte {
            alias: TableAlias {
                // That it has no AS before it.
                explicit: false,
                ..naming::table_alias(&self.repeated_name(number))
            },
            query: Box::new(query),
            from: None,
            materialized: None,
            closing_paren_token: AttachedToken::empty(),
        });
        // First of all, as those that were there may read them.
        with.cte_tables.splice(..0, ctes);
    }

    fn repeated_name(&self, number: usize) -> String {
        format!("{}w{}", self.prefix, number + 1)
    }

    /// The query of a derived table that groups rows, and names nothing but what is inside it.
    fn repeatable<'a>(&self, factor: &'a TableFactor) -> Option<&'a Query> {
        let TableFactor::Derived {
            lateral: false,
            subquery,
            alias: Some(TableAlias { .. }),
            sample: None,
        } = factor
        else {
            return None;
        };
        let SetExpr::Select(select) = &*subquery.body else {
            return None;
        };
        let groups = match &select.group_by {
            GroupByExpr::Expressions(keys, _) => !keys.is_empty(),
            GroupByExpr::All(_) => false,
        };
        let is_free = !self.locality().is_correlated(subquery) && !self.names_foreign_cte(subquery);
        (groups && is_free).then_some(&**subquery)
    }
}
