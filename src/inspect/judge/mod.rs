//! Puts together what was read of each table into what it is.

mod groups;
mod key;

use std::collections::BTreeMap;

use super::contents::{self, Contents, Reading, Verdict};
use super::drift::{Drift, DriftKind, RelationKind};
use super::keys::{Key, Sample, Stray};
use super::merged::Merged;
use super::report::{Origin, TableReport, Undecided};
use super::rule::Rule;
use super::shards::{Refusal, Shards};
use crate::catalog::name_list;
use crate::config::TableKind;
use crate::error::Result;

/// What somebody said about a table.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub(super) kind: TableKind,
    /// Whether only its key was given now, so that the rest is still to be found out.
    pub(super) is_new: bool,
    /// What the topology says, where the key that was given is another one.
    pub(super) replaced: Option<TableKind>,
}

/// Reads tables one after the other, each on all shards at once.
pub(super) struct Judge<'a> {
    shards: &'a Shards,
    names: Vec<String>,
    /// The role that reads.
    role: String,
    reading: Reading,
    tables: &'a [Merged],
    declared: BTreeMap<usize, Declared>,
    found: Vec<Found<'a>>,
    findings: Findings,
}

/// What comes of it.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// In the order of the tables.
    pub(super) reports: Vec<TableReport>,
    pub(super) drift: Vec<Drift>,
    pub(super) warnings: Vec<String>,
}

/// A sharded table of which no key is on two shards.
struct Found<'a> {
    /// Its place in the list of tables and of reports.
    place: usize,
    key: Key<'a>,
    sample: Sample,
    /// How many rows of each shard have no key.
    nulls: Vec<u64>,
    /// What was found, whether or not one was declared.
    rule: Option<Rule>,
    /// Whether all rows were looked at.
    is_checked: bool,
    /// Its colocation group; declared groups are kept.
    group: Option<String>,
    origin: Origin,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        shards: &'a Shards,
        role: String,
        reading: Reading,
        tables: &'a [Merged],
        declared: BTreeMap<usize, Declared>,
    ) -> Self {
        Self {
            names: shards.names(),
            shards,
            role,
            reading,
            tables,
            declared,
            found: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// Judges all tables, then which of the sharded ones live together.
    pub(super) async fn run(mut self) -> Result<Findings> {
        let mut left = BTreeMap::new();
        for (place, table) in self.tables.iter().enumerate() {
            let mut judged = TableReport::new(table, self.names.len());
            if let Some(contents) = self.contents(place, table, &mut judged).await? {
                left.insert(place, contents);
            }
            self.findings.reports.push(judged);
        }
        for place in self.order(left.keys().copied().collect()) {
            if let (Some(table), Some(contents)) = (self.tables.get(place), left.get(&place)) {
                self.key(place, table, contents).await?;
            }
        }
        self.groups().await?;
        Ok(self.findings)
    }

    /// Declared tables first; others after those to which they refer, whose key they may have; and
    /// those without a unique key last, because they may be told by their names only.
    fn order(&self, mut waiting: Vec<usize>) -> Vec<usize> {
        let rank = |place: &usize| {
            let keys = self.tables.get(*place).map(|table| table.keys.is_empty());
            (!self.declared.contains_key(place), keys)
        };
        waiting.sort_by_key(rank);
        let mut order = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let free = waiting.iter().position(|place| {
                let is_declared = self.declared.contains_key(place);
                is_declared || !self.refers_to_one_of(*place, &waiting)
            });
            // Where all refer to each other, one has to be the first.
            order.push(waiting.remove(free.unwrap_or(0)));
        }
        order
    }

    fn refers_to_one_of(&self, place: usize, others: &[usize]) -> bool {
        let targets = self.tables.get(place).map(|table| &table.foreign_keys);
        targets.into_iter().flatten().any(|foreign| {
            others.iter().any(|other| {
                *other != place
                    && self.tables.get(*other).is_some_and(|other| {
                        (&other.schema, &other.name) == (&foreign.schema, &foreign.table)
                    })
            })
        })
    }

    /// Judges what can be judged by contents alone; gives those back whose key is to be looked at.
    async fn contents(
        &mut self,
        place: usize,
        table: &'a Merged,
        report: &mut TableReport,
    ) -> Result<Option<Contents>> {
        let declared = self.declared.get(&place).cloned();
        if let Some(declared) = &declared {
            report.kind = Some(declared.kind.clone());
            report.origin = match declared.is_new {
                true => Origin::Given,
                false => Origin::Declared,
            };
            report
                .notes
                .extend(declared.replaced.as_ref().map(replaced));
        }
        let is_declared = declared.is_some();
        let label = table.label();
        if let Some(why) = self.unreadable(table) {
            report.why = why;
            if is_declared && table.missing.is_empty() && table.kind != RelationKind::View {
                let message = format!("declared, but not checked: {}", report.why);
                self.drift(DriftKind::Unchecked, Some(&label), message);
            }
            return Ok(None);
        }
        if !table.hidden.is_empty() {
            let message = format!(
                "row security hides rows of {label} from role {} on {}: what is said of its rows \
                 holds for those that this role sees",
                self.role,
                name_list(&self.names, &table.hidden)
            );
            self.findings.warnings.push(message);
            if !is_declared {
                report.why = format!(
                    "row security hides rows from role {}, so nothing is guessed: read as a role \
                     that sees all rows, or give its key as --shard-key {label}=COLUMN",
                    self.role
                );
                report.undecided.push(Undecided::table(&report.why));
                return Ok(None);
            }
        }
        if let Some(TableKind::Sharded { key, .. }) = report.kind.clone()
            && table.column(&key).is_none()
        {
            self.drift(
                DriftKind::Key,
                Some(&label),
                format!("the shard key {key} is not a column on all shards"),
            );
            report.why = "declared, but the key is not a column on all shards".into();
            report.is_contradicted = true;
            return Ok(None);
        }
        self.shards.tell(|| format!("{label}: comparing rows"));
        let contents = contents::compare(self.shards, table, self.reading).await?;
        report.rows.clone_from(&contents.rows);
        self.verdict(table, report, contents).await
    }

    /// Why a table is not looked into.
    fn unreadable(&self, table: &Merged) -> Option<String> {
        if table.kind == RelationKind::View {
            return Some("views are no part of a topology: query the tables that it reads".into());
        }
        if !table.missing.is_empty() {
            let missing = name_list(&self.names, &table.missing);
            return Some(format!("missing on {missing}: queries would fail there"));
        }
        if !table.unreadable.is_empty() {
            let unreadable = name_list(&self.names, &table.unreadable);
            return Some(format!(
                "permission denied on {unreadable}: grant SELECT on it and USAGE on its schema"
            ));
        }
        None
    }

    /// What the contents say, next to what was declared.
    async fn verdict(
        &mut self,
        table: &Merged,
        report: &mut TableReport,
        contents: Contents,
    ) -> Result<Option<Contents>> {
        let label = table.label();
        let is_sampled = matches!(contents.verdict, Verdict::Equal { sampled: true });
        match (&contents.verdict, &report.kind) {
            (Verdict::Refused(Refusal(message)), kind) => {
                report.why = format!("could not be read: {message}");
                if kind.is_some() {
                    let message = format!("declared, but not checked: {message}");
                    self.drift(DriftKind::Unchecked, Some(&label), message);
                }
            }
            (Verdict::Equal { .. }, Some(TableKind::Sharded { .. })) => {
                let message = format!(
                    "declared sharded, but all shards hold the same rows{}: answers would count \
                     each of them {} times; declare it replicated, or delete the copies",
                    if_sampled(is_sampled),
                    self.names.len()
                );
                self.drift(DriftKind::Rows, Some(&label), message);
                report.why = "declared, but all shards hold the same rows".into();
                report.is_contradicted = true;
            }
            (_, Some(TableKind::Sharded { .. })) => return Ok(Some(contents)),
            (Verdict::Differ { shown, .. }, Some(TableKind::Replicated)) => {
                let odd = self.odd_rows(table).await?;
                let message = format!(
                    "declared replicated, but rows differ: {shown}{odd}; make them equal, or \
                     declare its shard_key"
                );
                self.drift(DriftKind::Rows, Some(&label), message);
                report.why = "declared, but rows differ".into();
                report.is_contradicted = true;
            }
            (Verdict::Differ { shown, similar }, None) if *similar => {
                let odd = self.odd_rows(table).await?;
                let message = format!("looks replicated, but rows differ: {shown}{odd}");
                self.drift(DriftKind::Rows, Some(&label), message);
                report.why = "most rows are the same on all shards, but not all: make them equal, \
                              then it is replicated"
                    .into();
                report.undecided.push(Undecided::table(&report.why));
            }
            (Verdict::Differ { .. }, None) => return Ok(Some(contents)),
            (Verdict::Empty, None) => {
                report.why =
                    "no shard has a row, so nothing tells whether it is sharded: give its \
                              key if it is, or declare it replicated"
                        .into();
                report.undecided.push(Undecided::table(&report.why));
            }
            (verdict, _) => {
                report.kind = Some(TableKind::Replicated);
                report.is_checked = !is_sampled;
                report.why = match verdict {
                    Verdict::OneShard => "there is only one shard".into(),
                    Verdict::Empty => "no shard has a row".into(),
                    _ => format!("all shards hold the same rows{}", if_sampled(is_sampled)),
                };
            }
        }
        Ok(None)
    }

    /// A few rows that not all shards have, unless the table is too large to look for them.
    async fn odd_rows(&self, table: &Merged) -> Result<String> {
        if self.reading.is_sampled(table) {
            return Ok(String::new());
        }
        Ok(
            match contents::examples(self.shards, table, self.reading).await? {
                Ok(examples) if examples.is_empty() => {
                    "; the same rows, but not equally often".to_owned()
                }
                Ok(examples) => format!("; {}", examples.join(", ")),
                // The difference itself is known.
                Err(Refusal(_)) => String::new(),
            },
        )
    }

    /// Where a key is. `tables` are those that were looked at, where there are several.
    fn stray(&self, stray: &Stray, tables: &[&Found<'_>]) -> String {
        if tables.len() < 2 {
            let shards: Vec<usize> = stray.homes.iter().map(|(shard, _)| *shard).collect();
            return format!("{} on {}", stray.key, name_list(&self.names, &shards));
        }
        let homes: Vec<String> = stray
            .homes
            .iter()
            .filter_map(|(shard, table)| {
                let table = tables.get(*table)?.key.table.label();
                Some(format!("on {} in {table}", self.names.get(*shard)?))
            })
            .collect();
        format!("{} {}", stray.key, homes.join(" and "))
    }

    fn drift(&mut self, kind: DriftKind, table: Option<&str>, message: impl Into<String>) {
        self.findings.drift.push(Drift::new(kind, table, message));
    }

    fn report_mut(&mut self, place: usize) -> Option<&mut TableReport> {
        self.findings.reports.get_mut(place)
    }
}

/// What is lost with a declaration that a given key replaces.
fn replaced(kind: &TableKind) -> String {
    let TableKind::Sharded {
        key,
        colocation,
        shard_index,
    } = kind
    else {
        return "the key that was given replaces replicated = true of the topology".to_owned();
    };
    let others = [
        colocation
            .as_ref()
            .map(|group| format!("colocation {group}")),
        shard_index
            .as_ref()
            .map(|rule| format!("shard_index {rule}")),
    ];
    let others: Vec<String> = others.into_iter().flatten().collect();
    let also = match others.is_empty() {
        true => String::new(),
        false => format!(", and with it {}", others.join(" and ")),
    };
    format!("the key that was given replaces {key} of the topology{also}")
}

fn if_sampled(sampled: bool) -> &'static str {
    match sampled {
        true => ", by their number and a sample",
        false => "",
    }
}
