//! What an inspection found, as values, as text and as a topology.

use std::fmt;

use super::drift::{Drift, RelationKind, printable};
use super::merged::Merged;
use crate::config::{Remarks, TableKind, Topology, pair, quote};
use crate::error::Result;

/// What two shards may have otherwise without another answer.
const NOT_COMPARED: &str = "not compared, because answers do not depend on it: indexes but for \
     unique keys, sequences, triggers, defaults, checks, rights to write";

/// What an inspection found. `Display` writes it for people, over several lines.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was given, for shards and session.
    pub(super) given: Topology,
    pub(super) tables: Vec<TableReport>,
    pub(super) drift: Vec<Drift>,
    pub(super) warnings: Vec<String>,
}

impl Report {
    /// The topology that the shards have: shards, session and finish as they were given, and every
    /// table of which it is known how its rows are spread.
    ///
    /// Declarations of the topology that was given stay, also those that [`drift`](Self::drift)
    /// contradicts; only tables that no shard has any more are left out. A key of
    /// [`with_shard_key`](super::Inspector::with_shard_key) stays unless it is contradicted. What
    /// was guessed is in it only if [all rows](TableReport::is_checked) bear it out.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a name that a topology cannot hold.
    pub fn topology(&self) -> Result<Topology> {
        let tables = self.tables.iter().filter(|table| table.is_written());
        let tables = tables.filter_map(TableReport::declaration);
        self.given.clone().with_tables(tables)
    }

    /// The text of a topology file: [`topology`](Self::topology), with comments that say what was
    /// guessed and how it was checked, and what could not be decided and why. The latter are lines
    /// to be completed by hand.
    ///
    /// # Errors
    /// As [`topology`](Self::topology).
    pub fn to_toml(&self) -> Result<String> {
        let topology = self.topology()?;
        let written = self.tables.iter().filter(|table| table.is_written());
        let remarks: Vec<Remarks> = written.map(TableReport::remarks).collect();
        let left: Vec<Remarks> = self
            .tables
            .iter()
            .filter(|table| !table.is_written())
            .filter_map(TableReport::left)
            .collect();
        Ok(topology.to_toml_with(&remarks, &left))
    }

    /// How the shards differ where they should not, or differ from what was declared; empty when
    /// all is well.
    pub fn drift(&self) -> &[Drift] {
        &self.drift
    }

    /// What limits the findings, or may surprise; nothing of it is wrong by itself.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The tables and views of all shards by name, but for partitions and for what belongs to
    /// extensions.
    pub fn tables(&self) -> &[TableReport] {
        &self.tables
    }
}

/// What was found out about one table.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TableReport {
    /// Its schema.
    pub schema: String,
    /// Its name without the schema.
    pub name: String,
    /// What it is on the shards.
    pub relation: RelationKind,
    /// How its rows are spread; the key is the column's name in the catalog. `None` when that is
    /// not known: then [`Report::topology`] leaves the table out, and `why` says what is missing.
    pub kind: Option<TableKind>,
    /// Who says so.
    pub origin: Origin,
    /// Whether all rows were looked at and bear out `kind`; `false` where a sample had to do, or
    /// where it could not be read.
    pub is_checked: bool,
    /// How many rows each shard has, in the order of the shards.
    pub rows: Vec<Rows>,
    /// Where the knowledge comes from, or why there is none.
    pub why: String,
    /// What else is to be known: declarations that were replaced, colocation that was not found.
    pub notes: Vec<String>,
    /// Whether the data contradict what was declared.
    pub(super) is_contradicted: bool,
    /// What a topology file has as comments only.
    pub(super) undecided: Vec<Undecided>,
    /// Whether its name in a topology needs the schema.
    pub(super) is_qualified: bool,
}

/// Who says how the rows of a table are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The topology of the cluster.
    Declared,
    /// [`with_shard_key`](super::Inspector::with_shard_key) names its key.
    Given,
    /// Nobody: it was concluded from the data.
    Guessed,
}

/// What could not be decided of a table, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Undecided {
    /// The key of the file, with a value that may be the right one; `None`: how its rows are spread.
    key: Option<(&'static str, String)>,
    why: String,
}

impl Undecided {
    pub(super) fn table(why: &str) -> Self {
        Self {
            key: None,
            why: why.to_owned(),
        }
    }

    pub(super) fn key(key: &'static str, value: &str, why: &str) -> Self {
        Self {
            key: Some((key, value.to_owned())),
            why: why.to_owned(),
        }
    }
}

/// The number of rows of one table on one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rows {
    /// Counted.
    Exact(u64),
    /// As the server's statistics have it.
    Estimate(u64),
    /// Not read.
    Unknown,
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(rows) => write!(f, "{rows}"),
            Self::Estimate(rows) => write!(f, "about {rows}"),
            Self::Unknown => f.write_str("?"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self
            .given
            .shards()
            .iter()
            .map(|shard| shard.name())
            .collect();
        let count = match names.len() {
            1 => "1 shard".to_owned(),
            count => format!("{count} shards"),
        };
        writeln!(f, "{count}: {}", printable(&names.join(", ")))?;
        for table in &self.tables {
            writeln!(f)?;
            let name = format!("{}.{}", table.schema, table.name);
            writeln!(f, "{}: {}", printable(&name), printable(&table.headline()))?;
            if table.rows.iter().any(|rows| *rows != Rows::Unknown) {
                let rows = names.iter().zip(&table.rows);
                let rows: Vec<String> = rows.map(|(name, rows)| format!("{name} {rows}")).collect();
                writeln!(f, "    rows: {}", printable(&rows.join(", ")))?;
            }
            writeln!(f, "    why: {}", printable(&table.why))?;
            for note in &table.notes {
                writeln!(f, "    note: {}", printable(note))?;
            }
            for undecided in &table.undecided {
                if let Some((key, value)) = &undecided.key {
                    let text = format!("{key} may be {value}: {}", undecided.why);
                    writeln!(f, "    not decided: {}", printable(&text))?;
                }
            }
        }
        writeln!(f)?;
        writeln!(f, "{NOT_COMPARED}")?;
        if !self.warnings.is_empty() {
            writeln!(f, "warnings:")?;
        }
        for warning in &self.warnings {
            writeln!(f, "    {}", printable(warning))?;
        }
        if self.drift.is_empty() {
            return match self.warnings.is_empty() {
                true => writeln!(f, "no drift"),
                false => writeln!(f, "no drift in what was compared: see the warnings"),
            };
        }
        writeln!(f, "drift:")?;
        self.drift
            .iter()
            .try_for_each(|drift| writeln!(f, "    {drift}"))
    }
}

impl TableReport {
    pub(super) fn new(table: &Merged, shards: usize) -> Self {
        Self {
            schema: table.schema.clone(),
            name: table.name.clone(),
            relation: table.kind,
            kind: None,
            origin: Origin::Guessed,
            is_checked: false,
            rows: vec![Rows::Unknown; shards],
            why: String::new(),
            notes: Vec::new(),
            is_contradicted: false,
            undecided: Vec::new(),
            is_qualified: false,
        }
    }

    /// Whether a topology has it.
    fn is_written(&self) -> bool {
        self.kind.is_some()
            && match self.origin {
                Origin::Declared => true,
                Origin::Given => !self.is_contradicted,
                Origin::Guessed => self.is_checked,
            }
    }

    /// Its name and kind as SQL writes them.
    fn declaration(&self) -> Option<(String, TableKind)> {
        let kind = match self.kind.clone()? {
            TableKind::Sharded {
                key,
                colocation,
                shard_index,
            } => TableKind::Sharded {
                key: quote(&key),
                colocation,
                shard_index,
            },
            kind => kind,
        };
        Some((self.sql(), kind))
    }

    fn sql(&self) -> String {
        match self.is_qualified {
            true => format!("{}.{}", quote(&self.schema), quote(&self.name)),
            false => quote(&self.name),
        }
    }

    /// What a file says of it besides its declaration.
    fn remarks(&self) -> Remarks {
        let origin = match (self.origin, self.is_contradicted) {
            (_, true) => "contradicted by the rows: ",
            (Origin::Guessed, _) => "guessed, and checked over all rows: ",
            (Origin::Declared | Origin::Given, _) => "",
        };
        let mut before = vec![printable(&format!("{origin}{}", self.why))];
        before.extend(self.notes.iter().map(|note| printable(note)));
        let mut after = Vec::new();
        for undecided in &self.undecided {
            let Some((key, value)) = &undecided.key else {
                continue;
            };
            after.push(format!("not decided: {}", printable(&undecided.why)));
            after.push(pair(key, value));
        }
        Remarks { before, after }
    }

    /// What a file says of it where it cannot declare it; `None` where there is nothing to decide.
    fn left(&self) -> Option<Remarks> {
        let undecided = self.undecided.iter().find(|it| it.key.is_none());
        let why = match (undecided, &self.kind) {
            (Some(undecided), _) => &undecided.why,
            (None, Some(_)) => &self.why,
            (None, None) if self.relation == RelationKind::View => return None,
            (None, None) => &self.why,
        };
        let reason = match self.origin {
            Origin::Guessed if self.kind.is_some() => "not checked over all rows: ",
            _ => "not decided: ",
        };
        let mut before = vec![printable(&format!("{reason}{why}"))];
        before.extend(self.notes.iter().map(|note| printable(note)));
        let mut after = vec!["[[table]]".to_owned(), pair("name", &self.sql())];
        match &self.kind {
            Some(TableKind::Sharded {
                key, colocation, ..
            }) => {
                after.push(pair("shard_key", &quote(key)));
                after.extend(colocation.iter().map(|group| pair("colocation", group)));
            }
            Some(TableKind::Replicated) => after.push("replicated = true".to_owned()),
            None => after.push("shard_key = \"\"  # or: replicated = true".to_owned()),
        }
        Some(Remarks { before, after })
    }

    fn headline(&self) -> String {
        let mut text = match &self.kind {
            Some(TableKind::Replicated) => "replicated".to_owned(),
            Some(TableKind::Sharded {
                key,
                colocation,
                shard_index,
            }) => {
                let mut text = format!("sharded by {key}");
                if let Some(group) = colocation {
                    text.push_str(&format!(", colocated in {group}"));
                }
                if let Some(index) = shard_index {
                    text.push_str(&format!(", on shard {index}"));
                }
                text
            }
            None if self.relation == RelationKind::View => return "view".to_owned(),
            None => "unknown".to_owned(),
        };
        if self.kind.is_some() && self.origin == Origin::Guessed && !self.is_checked {
            text.push_str(", from a sample only");
        }
        if self.relation != RelationKind::Table {
            text.push_str(&format!(" ({})", self.relation));
        }
        text
    }
}

/// `1 row`, `2 rows`.
pub(super) fn count_rows(rows: impl fmt::Display) -> String {
    match rows.to_string() {
        one if one == "1" => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::drift::DriftKind;

    fn table(name: &str, kind: Option<TableKind>, relation: RelationKind) -> TableReport {
        TableReport {
            schema: "public".to_owned(),
            name: name.to_owned(),
            relation,
            kind,
            origin: Origin::Guessed,
            is_checked: true,
            rows: vec![Rows::Exact(3), Rows::Estimate(4)],
            why: "a reason".to_owned(),
            notes: Vec::new(),
            is_contradicted: false,
            undecided: Vec::new(),
            is_qualified: name == "Orders",
        }
    }

    fn report() -> Report {
        let key = TableKind::Sharded {
            key: "Key".to_owned(),
            colocation: Some("orders".to_owned()),
            shard_index: Some("\"Key\" % 2".to_owned()),
        };
        Report {
            given: Topology::from_urls(["postgresql://app@db0/x", "postgresql://app@db1/x"])
                .unwrap(),
            tables: vec![
                table("Orders", Some(key), RelationKind::Table),
                table(
                    "nation",
                    Some(TableKind::Replicated),
                    RelationKind::MaterializedView,
                ),
                table("other\u{1b}", None, RelationKind::Table),
                table("v", None, RelationKind::View),
            ],
            drift: vec![Drift::new(DriftKind::Rows, Some("public.x"), "a\u{7}\nb")],
            warnings: vec!["w\u{7}".to_owned()],
        }
    }

    #[test]
    fn the_text_says_everything_and_cannot_move_the_cursor() {
        assert_eq!(
            report().to_string(),
            "2 shards: s0, s1\n\
             \n\
             public.Orders: sharded by Key, colocated in orders, on shard \"Key\" % 2\n    \
             rows: s0 3, s1 about 4\n    \
             why: a reason\n\
             \n\
             public.nation: replicated (materialized view)\n    \
             rows: s0 3, s1 about 4\n    \
             why: a reason\n\
             \n\
             public.other\\u{1b}: unknown\n    \
             rows: s0 3, s1 about 4\n    \
             why: a reason\n\
             \n\
             public.v: view\n    \
             rows: s0 3, s1 about 4\n    \
             why: a reason\n\
             \n\
             not compared, because answers do not depend on it: indexes but for unique keys, \
             sequences, triggers, defaults, checks, rights to write\n\
             warnings:\n    \
             w\\u{7}\n\
             drift:\n    \
             public.x: a\\u{7} b\n"
        );
    }

    #[test]
    fn the_topology_has_what_is_known_and_loads_again() {
        let topology = report().topology().unwrap();
        let tables: Vec<_> = topology.tables().iter().map(|table| table.name()).collect();
        assert_eq!(tables, ["Orders", "nation"]);
        assert_eq!(topology.tables()[0].schema(), Some("public"));
        assert_eq!(topology.tables()[1].schema(), None);
        assert_eq!(Topology::from_toml(&topology.to_toml()).unwrap(), topology);
    }

    #[test]
    fn a_file_has_what_is_sure_and_the_rest_as_comments() {
        let mut report = report();
        let orders = &mut report.tables[0];
        orders.notes.push("a note\n[[table]]".to_owned());
        let doubt = Undecided::key("shard_index", "\"Key\" % 2", "only 2 keys");
        orders.undecided.push(doubt);
        report.tables[1].is_checked = false;
        let text = report.to_toml().unwrap();
        assert_eq!(
            Topology::from_toml(&text).unwrap(),
            report.topology().unwrap()
        );
        assert_eq!(report.topology().unwrap().tables().len(), 1);
        let tables = text.find("\n\n# guessed").map(|at| &text[at..]);
        assert_eq!(
            tables,
            Some(
                "\n\n# guessed, and checked over all rows: a reason\n\
                 # a note [[table]]\n\
                 [[table]]\n\
                 name = 'public.\"Orders\"'\n\
                 shard_key = '\"Key\"'\n\
                 colocation = \"orders\"\n\
                 shard_index = '\"Key\" % 2'\n\
                 # not decided: only 2 keys\n\
                 # shard_index = '\"Key\" % 2'\n\
                 \n\
                 # not checked over all rows: a reason\n\
                 # [[table]]\n\
                 # name = \"nation\"\n\
                 # replicated = true\n\
                 \n\
                 # not decided: a reason\n\
                 # [[table]]\n\
                 # name = \"\\\"other\\u001B\\\"\"\n\
                 # shard_key = \"\"  # or: replicated = true\n"
            ),
            "{text}"
        );
    }
}
