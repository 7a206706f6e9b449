//! What the user may have meant by a name that PostgreSQL does not find.

use super::{Catalog, Relation};
use crate::error::Error;
use crate::quote::readable;

const CAPITALS: &str = "a name with capitals needs quotes";

impl Catalog {
    /// The error about the user's query with what is there of a similar name, where PostgreSQL says
    /// that a table or column does not exist (SQLSTATEs 42P01 and 42703) and has no better hint.
    pub(crate) fn suggest(&self, error: Error) -> Error {
        let hint = error.hint().unwrap_or_default().to_owned();
        // Below the advice stands the place in the query.
        let (advice, place) = hint.split_once('\n').unwrap_or((&hint, ""));
        let suggestion = match error.sql_state() {
            Some("42P01") => {
                missing_name(error.message()).and_then(|name| self.relation_like(name))
            }
            Some("42703") => match capitals(advice) {
                Some(name) => Some(format!("{advice} ({CAPITALS}: \"{name}\")")),
                None => missing_name(error.message()).and_then(|name| {
                    self.column_elsewhere(name)
                        .or_else(|| self.column_like(name))
                }),
            },
            _ => None,
        };
        match suggestion {
            Some(suggestion) => error.replace_hint(format!("{suggestion}\n{place}")),
            None => error,
        }
    }

    /// What to say of the table that is most like this name, as PostgreSQL's message has it:
    /// `orders` or `sales.orders`, without quotes.
    fn relation_like(&self, name: &str) -> Option<String> {
        let (_, _, nearest) = self
            .relations
            .by_name
            .values()
            .flatten()
            .filter(|relation| !["pg_catalog", "information_schema"].contains(&&*relation.schema))
            .filter_map(|relation| {
                let whole = format!("{}.{}", relation.schema, relation.name);
                let distance = distance(name, &relation.name).min(distance(name, &whole));
                let is_near = distance <= (name.chars().count() / 3).clamp(1, 3);
                is_near.then_some((distance, whole, relation))
            })
            .min_by(|(left, left_name, _), (right, right_name, _)| {
                (left, left_name).cmp(&(right, right_name))
            })?;
        let advice = format!("did you mean {}?", self.label(nearest));
        Some(match (nearest.name == name, needs_quotes(&nearest.name)) {
            (true, _) => format!(
                "{advice} the schema {} is not in the search_path: say it, or set search_path under \
                 [session] in the topology file",
                nearest.schema
            ),
            (false, true) => format!("{advice} {CAPITALS}"),
            (false, false) => advice,
        })
    }

    /// Likewise of a column; PostgreSQL itself finds those that differ in a few letters.
    fn column_like(&self, name: &str) -> Option<String> {
        let name = name.rsplit('.').next()?;
        let relations = self.relations.by_name.values().flatten();
        let column = relations
            .flat_map(|relation| &relation.columns)
            .map(|column| &column.name)
            .filter(|column| *column != name && column.to_lowercase() == name.to_lowercase())
            .min()?;
        Some(format!("did you mean {}? {CAPITALS}", readable(column)))
    }

    /// How the shards differ on a column of this name, which the one that was asked lacks.
    fn column_elsewhere(&self, name: &str) -> Option<String> {
        let name = name.rsplit('.').next()?;
        let relations = self.relations.by_name.values().flatten();
        let differences = relations.filter_map(|it| it.column(name)?.difference.clone());
        differences.min()
    }

    /// A relation as a query has to name it.
    fn label(&self, relation: &Relation) -> String {
        let found = self.relation(None, &relation.name);
        match found.is_some_and(|found| found.schema == relation.schema) {
            true => readable(&relation.name),
            false => format!(
                "{}.{}",
                readable(&relation.schema),
                readable(&relation.name)
            ),
        }
    }
}

/// How far two names are from each other; those that differ in capitals only are as near as those
/// of different schemas.
fn distance(left: &str, right: &str) -> usize {
    match left.to_lowercase() == right.to_lowercase() {
        true => 0,
        false => strsim::damerau_levenshtein(left, right),
    }
}

/// The name in `relation "orders" does not exist` or `column o.price does not exist`, where the
/// server speaks English.
fn missing_name(message: &str) -> Option<&str> {
    let (before, _) = message.split_once(" does not exist")?;
    match before.strip_suffix('"') {
        Some(quoted) => quoted.split_once('"').map(|(_, name)| name),
        None => before.rsplit(' ').next(),
    }
}

/// The column with capitals that PostgreSQL's hint names: `.. the column "o.Price".`
fn capitals(hint: &str) -> Option<&str> {
    let (_, rest) = hint.split_once("reference the column \"")?;
    let (name, _) = rest.split_once('"')?;
    let name = name.rsplit('.').next()?;
    needs_quotes(name).then_some(name)
}

fn needs_quotes(name: &str) -> bool {
    name.chars().any(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Collation;
    use crate::catalog::tests::{path, relation};
    use crate::error::ErrorKind;

    fn hint(code: &str, message: &str, hint: &str) -> String {
        let catalog = Catalog::new(path(&["public", "pg_catalog"]), Collation::database(true))
            .with_relation(relation("public", "orders"))
            .with_relation(relation("sales", "Product"))
            .with_relation(relation("public", "Lower"))
            .with_relation(relation("archive", "invoice"));
        let error = Error::new(ErrorKind::Server, message)
            .with_sql_state(code)
            .with_hint(hint);
        catalog.suggest(error).hint().unwrap().to_owned()
    }

    #[test]
    fn tables_are_found_by_what_they_may_have_been_called() {
        for (name, suggestion) in [
            ("ordesr", "did you mean orders?\n^"),
            (
                "product",
                "did you mean sales.\"Product\"? a name with capitals needs quotes\n^",
            ),
            ("sales.product", "did you mean sales.\"Product\"? a name"),
            ("lower", "did you mean \"Lower\"? a name with capitals"),
            (
                "invoice",
                "did you mean archive.invoice? the schema archive is not in the search_path",
            ),
            ("public.order", "did you mean orders?"),
            ("customer", "look\n^"),
            ("x", "look\n^"),
        ] {
            let message = format!("line 1, column 5: relation \"{name}\" does not exist");
            let hint = hint("42P01", &message, "look\n^");
            assert!(hint.starts_with(suggestion), "{name}: {hint}");
        }
    }

    #[test]
    fn columns_with_capitals_are_found() {
        let given = "Perhaps you meant to reference the column \"p.Price\".\n^";
        let hinted = hint("42703", "column \"price\" does not exist", given);
        assert!(hinted.contains("needs quotes: \"Price\""), "{hinted}");
        assert_eq!(
            missing_name("column o.price does not exist"),
            Some("o.price")
        );
    }
}
