//! Views: whose rights and policies their tables are read with.
//!
//! PostgreSQL asks whether the user may read a view, and whether the view's owner may read what it
//! reads; policies are those for the owner too, unless the view is `security_invoker`
//! (`setRuleCheckAsUser` in `src/backend/rewrite/rewriteDefine.c`). The planner puts the view's
//! query in its place, where it is all the user's: that is right where it makes no difference.

use super::Binder;
use crate::catalog::{Access, Relation, RelationKind};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::plan::refused;

impl Binder<'_> {
    /// Refuses a view where the rights of its owner matter; `views` are those around it.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] where PostgreSQL permits nobody to read it; otherwise
    /// [`ErrorKind::Unsupported`].
    pub(super) fn check_rights(&self, view: &Relation) -> Result<()> {
        let Some(access) = self.access(&view.schema, &view.name) else {
            return Ok(());
        };
        let whole = format!("{}.{}", view.schema, view.name);
        // Inside a view of another role it is that view which was asked about the right.
        if !self.is_read_by_another() && !access.readable {
            return Err(permission_denied(&whole, "view").with_hint(format!(
                "GRANT SELECT ON {whole} to the role that asks, on all shards"
            )));
        }
        let Some(owner) = &access.reads_as else {
            return Ok(());
        };
        for read in &access.reads {
            let what = format!("{}.{}", read.schema, read.name);
            if !read.readable {
                return Err(permission_denied(&what, "relation").with_hint(format!(
                    "the view {whole} reads it with the rights of its owner {owner}, who has none"
                )));
            }
            let is_view = self
                .catalog
                .relation(Some(&read.schema), &read.name)
                .is_some_and(|found| matches!(found.kind, RelationKind::View { .. }));
            if is_view {
                continue;
            }
            let own = self.access(&read.schema, &read.name);
            if read.row_security || own.is_some_and(|own| own.row_security) {
                return Err(refused(
                    format!(
                        "the view {whole}, which reads {what} by the row-security policies for its \
                         owner {owner}, not by those for the role that asks"
                    ),
                    "name the view in the topology as a table of its own, query the tables, or make \
                     the view security_invoker",
                ));
            }
            if own.is_some_and(|own| !own.readable) {
                return Err(refused(
                    format!(
                        "the view {whole}, which reads {what} with the rights of its owner {owner}: \
                         the role that asks has none of its own"
                    ),
                    "name the view in the topology as a table of its own, or grant SELECT on what it \
                     reads to the role",
                ));
            }
        }
        Ok(())
    }

    /// Whether the view that is being expanded reads with the rights of another role.
    fn is_read_by_another(&self) -> bool {
        let view = self.views.last().and_then(|view| view.split_once('.'));
        let access = view.and_then(|(schema, name)| self.access(schema, name));
        access.is_some_and(|access| access.reads_as.is_some())
    }

    fn access(&self, schema: &str, name: &str) -> Option<&Access> {
        self.catalog.conditions().access(schema, name)
    }
}

/// PostgreSQL's own answer.
fn permission_denied(name: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Server,
        format!("permission denied for {what} {name}"),
    )
    .with_phase(Phase::Plan)
    .with_sql_state("42501")
}
