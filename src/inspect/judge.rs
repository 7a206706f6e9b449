//! Puts together what was read of each table into what it is.

use std::collections::BTreeMap;

use super::compare::Merged;
use super::contents::{self, Contents, Reading, Verdict};
use super::keys::{self, Disjoint, Key, Sample, Stray, Together};
use super::report::{self, Drift, DriftKind, RelationKind, Rows, TableReport};
use super::rule::{self, Rule};
use super::shards::{Refusal, Shards};
use crate::catalog::{differences, name_list};
use crate::config::TableKind;
use crate::error::Result;

/// What somebody said about a table.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub(super) kind: TableKind,
    /// Whether only its key was given now, so that the rest is still to be found out.
    pub(super) is_new: bool,
}

/// Reads tables one after the other, each on all shards at once.
pub(super) struct Judge<'a> {
    shards: &'a Shards,
    names: Vec<String>,
    reading: Reading,
    tables: &'a [Merged],
    declared: BTreeMap<usize, Declared>,
    reports: Vec<TableReport>,
    found: Vec<Found<'a>>,
    drift: Vec<Drift>,
}

/// A sharded table.
struct Found<'a> {
    /// Its place in the list of tables and of reports.
    place: usize,
    key: Key<'a>,
    sample: Sample,
    rule: Option<Rule>,
    /// Whether it is proven that no key is on two shards.
    is_proven: bool,
    /// Its colocation group; declared groups are kept.
    group: Option<String>,
    is_declared: bool,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        shards: &'a Shards,
        reading: Reading,
        tables: &'a [Merged],
        declared: BTreeMap<usize, Declared>,
    ) -> Self {
        Self {
            names: shards.names(),
            shards,
            reading,
            tables,
            declared,
            reports: Vec::new(),
            found: Vec::new(),
            drift: Vec::new(),
        }
    }

    /// Judges all tables, then which of the sharded ones live together.
    pub(super) async fn run(mut self) -> Result<(Vec<TableReport>, Vec<Drift>)> {
        // Tables without a unique key are left for last: they may have the key of another.
        let mut left = Vec::new();
        for (place, table) in self.tables.iter().enumerate() {
            let mut judged = TableReport {
                schema: table.schema.clone(),
                name: table.name.clone(),
                relation: table.kind,
                kind: None,
                rows: vec![Rows::Unknown; self.names.len()],
                why: String::new(),
                is_qualified: false,
            };
            if let Some(contents) = self.contents(place, table, &mut judged).await? {
                left.push((place, contents));
            }
            self.reports.push(judged);
        }
        // Declared first, then by the likelihood of their keys.
        for round in 0..3 {
            for (place, contents) in &left {
                let Some(table) = self.tables.get(*place) else {
                    continue;
                };
                let turn = match (self.declared.contains_key(place), table.keys.is_empty()) {
                    (true, _) => 0,
                    (false, false) => 1,
                    (false, true) => 2,
                };
                if turn == round {
                    self.key(*place, table, contents).await?;
                }
            }
        }
        self.groups().await?;
        Ok((self.reports, self.drift))
    }

    /// Judges what can be judged by contents alone; gives those back whose key is to be looked at.
    async fn contents(
        &mut self,
        place: usize,
        table: &'a Merged,
        report: &mut TableReport,
    ) -> Result<Option<Contents>> {
        let declared = self
            .declared
            .get(&place)
            .map(|declared| declared.kind.clone());
        report.kind = declared.clone();
        if table.kind == RelationKind::View {
            report.why = "views are no part of a topology: query the tables that it reads".into();
            report.kind = declared;
            return Ok(None);
        }
        if !table.missing.is_empty() {
            let missing = name_list(&self.names, &table.missing);
            report.why = format!("missing on {missing}: queries would fail there");
            return Ok(None);
        }
        if !table.unreadable.is_empty() {
            let unreadable = name_list(&self.names, &table.unreadable);
            report.why = format!(
                "permission denied on {unreadable}: grant SELECT on it and USAGE on its schema"
            );
            return Ok(None);
        }
        let contents = contents::compare(self.shards, table, self.reading).await?;
        report.rows.clone_from(&contents.rows);
        let label = table.label();
        match (&contents.verdict, &declared) {
            (Verdict::Refused(Refusal(message)), _) => {
                report.why = format!("could not be read: {message}");
                return Ok(None);
            }
            (_, Some(TableKind::Sharded { .. })) => {
                if let Verdict::Equal { sampled } = contents.verdict {
                    self.drift.push(Drift::new(
                        DriftKind::Rows,
                        Some(&label),
                        format!(
                            "declared sharded, but all shards hold the same rows{}: answers would \
                             count each of them {} times",
                            if_sampled(sampled),
                            self.names.len()
                        ),
                    ));
                    report.why = "declared, but all shards hold the same rows".into();
                    return Ok(None);
                }
                return Ok(Some(contents));
            }
            (Verdict::Differ { shown, .. }, Some(_)) => {
                let message = format!("declared replicated, but rows differ: {shown}");
                self.drift
                    .push(Drift::new(DriftKind::Rows, Some(&label), message));
                report.why = "declared, but rows differ".into();
                return Ok(None);
            }
            (Verdict::Differ { shown, similar }, None) if *similar => {
                let message = format!("looks replicated, but rows differ: {shown}");
                self.drift
                    .push(Drift::new(DriftKind::Rows, Some(&label), message));
                report.why = "most rows are the same on all shards, but not all: make them equal, \
                              then it is replicated"
                    .into();
                return Ok(None);
            }
            (Verdict::Differ { .. }, None) => return Ok(Some(contents)),
            (verdict, _) => {
                report.kind = Some(TableKind::Replicated);
                report.why = match verdict {
                    Verdict::OneShard => "there is only one shard".into(),
                    Verdict::Empty => {
                        "no shard has a row, so it may as well be sharded: give its key if it is"
                            .into()
                    }
                    _ => {
                        let sampled = matches!(verdict, Verdict::Equal { sampled: true });
                        format!("all shards hold the same rows{}", if_sampled(sampled))
                    }
                };
            }
        }
        Ok(None)
    }

    /// Finds the key of a table whose rows differ, or checks the one that was declared.
    async fn key(&mut self, place: usize, table: &'a Merged, contents: &Contents) -> Result<()> {
        match self.declared.get(&place).cloned() {
            Some(Declared {
                kind:
                    TableKind::Sharded {
                        key,
                        colocation,
                        shard_index,
                    },
                is_new,
            }) => {
                self.declared_key(place, table, &key, (colocation, shard_index), is_new)
                    .await
            }
            _ => self.guessed_key(place, table, contents).await,
        }
    }

    async fn declared_key(
        &mut self,
        place: usize,
        table: &'a Merged,
        name: &str,
        (colocation, shard_index): (Option<String>, Option<String>),
        is_new: bool,
    ) -> Result<()> {
        let label = table.label();
        let Some(key) = Key::new(table, name) else {
            let message = format!("the shard key {name} is not a column on all shards");
            self.drift
                .push(Drift::new(DriftKind::Key, Some(&label), message));
            self.explain(place, "declared, but the key is not a column on all shards");
            return Ok(());
        };
        let (sample, disjoint) = match self.check_key(key).await? {
            Ok(checked) => checked,
            Err(Refusal(message)) => {
                self.explain(
                    place,
                    format!("declared; keys could not be compared: {message}"),
                );
                return Ok(());
            }
        };
        let origin = match is_new {
            true => "key given",
            false => "declared",
        };
        let mut why = match &disjoint {
            Disjoint::Yes { keys } => format!("{origin}; {}", self.no_strays(*keys, key)),
            Disjoint::No { .. } => {
                let message = self.strays(&disjoint, name);
                self.drift
                    .push(Drift::new(DriftKind::Key, Some(&label), message));
                format!("{origin}, but keys are on two shards")
            }
            Disjoint::Refused(Refusal(message)) => {
                format!("{origin}; keys could not be compared: {message}")
            }
        };
        let is_disjoint = matches!(disjoint, Disjoint::Yes { .. });
        let rule = match is_disjoint {
            true => rule::find(self.shards, key, &sample).await?,
            false => None,
        };
        if let Some(declared) = &shard_index {
            match rule::check(self.shards, table, declared).await? {
                Ok(strays) if strays.iter().all(|rows| *rows == 0) => {
                    why.push_str("; every row is where shard_index says");
                }
                Ok(strays) => {
                    let rows: Vec<Option<String>> = strays
                        .iter()
                        .map(|rows| Some(report::count_rows(rows)))
                        .collect();
                    let shown = differences(&self.names, &rows).unwrap_or_else(|| {
                        format!(
                            "{} on each shard",
                            report::count_rows(strays.first().unwrap_or(&0))
                        )
                    });
                    self.drift.push(Drift::new(
                        DriftKind::ShardIndex,
                        Some(&label),
                        format!("rows that are not on the shard {declared}: {shown}"),
                    ));
                }
                Err(Refusal(message)) => self.drift.push(Drift::new(
                    DriftKind::ShardIndex,
                    Some(&label),
                    format!("shard_index {declared} cannot be evaluated: {message}"),
                )),
            }
        } else if let Some(rule) = &rule {
            why.push_str(&format!(
                "; all {} rows are on shard {}",
                rule.rows, rule.sql
            ));
        }
        let index = match (shard_index, is_new) {
            (Some(index), _) => Some(index),
            (None, true) => rule.as_ref().map(|rule| rule.sql.clone()),
            // What was declared without one is left so: only the text tells.
            (None, false) => None,
        };
        self.set(place, name, colocation.clone(), index, why);
        if is_disjoint {
            self.found.push(Found {
                place,
                key,
                sample,
                is_proven: rule.is_some() || self.is_verified(key),
                rule,
                group: colocation,
                is_declared: !is_new,
            });
        }
        Ok(())
    }

    async fn guessed_key(
        &mut self,
        place: usize,
        table: &'a Merged,
        contents: &Contents,
    ) -> Result<()> {
        let shown = match &contents.verdict {
            Verdict::Differ { shown, .. } => shown.clone(),
            _ => String::new(),
        };
        let known: Vec<Key<'a>> = self.found.iter().map(|found| found.key).collect();
        let candidates = keys::candidates(table, &known);
        let mut tried = Vec::new();
        for key in candidates {
            let name = &key.column.name;
            let (sample, disjoint) = match self.check_key(key).await? {
                Ok(checked) => checked,
                Err(Refusal(message)) => {
                    tried.push(format!("{name} could not be compared ({message})"));
                    continue;
                }
            };
            match &disjoint {
                Disjoint::Yes { keys: 0 } => tried.push(format!("{name} has no values")),
                Disjoint::Yes { keys } => {
                    let rule = rule::find(self.shards, key, &sample).await?;
                    let mut why = format!("rows differ; {}", self.no_strays(*keys, key));
                    if let Some(rule) = &rule {
                        why.push_str(&format!(
                            "; all {} rows are on shard {}",
                            rule.rows, rule.sql
                        ));
                    }
                    let index = rule.as_ref().map(|rule| rule.sql.clone());
                    self.set(place, name, None, index, why);
                    self.found.push(Found {
                        place,
                        key,
                        sample,
                        is_proven: rule.is_some() || self.is_verified(key),
                        rule,
                        group: None,
                        is_declared: false,
                    });
                    return Ok(());
                }
                Disjoint::No { .. } => tried.push(self.strays(&disjoint, name)),
                Disjoint::Refused(Refusal(message)) => {
                    tried.push(format!("{name} could not be compared ({message})"));
                }
            }
        }
        let tried = match tried.is_empty() {
            true => "no unique key to try".to_owned(),
            false => tried.join("; "),
        };
        self.explain(
            place,
            format!(
                "rows differ ({shown}), but no key was found ({tried}): give it as --shard-key \
                 {}=COLUMN",
                table.label()
            ),
        );
        Ok(())
    }

    /// Whether any key is on two shards: first by sample, then, where asked for, by all keys.
    async fn check_key(&self, key: Key<'a>) -> Result<Result<(Sample, Disjoint), Refusal>> {
        let sample = match keys::sample(self.shards, key, self.reading).await? {
            Ok(sample) => sample,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if self.shards.len() == 1 {
            let keys = sample.iter().map(Vec::len).sum();
            return Ok(Ok((sample, Disjoint::Yes { keys })));
        }
        let mut disjoint = keys::check_sample(self.shards, key, &sample).await?;
        if self.is_verified(key) && matches!(disjoint, Disjoint::Yes { .. }) {
            disjoint = keys::verify(self.shards, &[key], self.reading).await?;
        }
        Ok(Ok((sample, disjoint)))
    }

    fn is_verified(&self, key: Key<'_>) -> bool {
        self.reading.verify && key.is_exact()
    }

    fn no_strays(&self, keys: usize, key: Key<'_>) -> String {
        match (self.shards.len(), self.is_verified(key), key.is_exact()) {
            (1, ..) => "there is only one shard".to_owned(),
            (_, true, _) => format!("none of all {keys} keys is on two shards"),
            (_, _, true) => format!("none of {keys} sampled keys is on two shards"),
            (_, _, false) => format!(
                "none of {keys} sampled keys is on two shards, if equal ones of type {} have equal \
                 texts",
                key.column.base
            ),
        }
    }

    fn strays(&self, disjoint: &Disjoint, key: &str) -> String {
        let Disjoint::No {
            examples,
            strays,
            keys,
        } = disjoint
        else {
            return String::new();
        };
        let shown: Vec<String> = examples.iter().map(|stray| self.stray(stray)).collect();
        format!(
            "{strays} of {keys} keys {key} are on two shards: {}",
            shown.join(", ")
        )
    }

    fn stray(&self, stray: &Stray) -> String {
        format!("{} on {}", stray.key, name_list(&self.names, &stray.shards))
    }

    /// Finds out which sharded tables live together, and checks those that are said to.
    async fn groups(&mut self) -> Result<()> {
        if self.shards.len() < 2 {
            return Ok(());
        }
        let found = std::mem::take(&mut self.found);
        // Each group by its members; the first one stands for it.
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (index, table) in found.iter().enumerate() {
            let mut home = None;
            for (number, group) in groups.iter().enumerate() {
                let Some(first) = group.first().and_then(|first| found.get(*first)) else {
                    continue;
                };
                if !first.key.is_comparable(&table.key) {
                    continue;
                }
                let is_said = table.is_declared && first.is_declared;
                if is_said && (table.group.is_none() || table.group != first.group) {
                    continue;
                }
                match self.together(first, table).await? {
                    Together::No(stray) if is_said => {
                        let message = format!(
                            "in colocation group {} with {}, but not on the same shards: key {}",
                            table.group.as_deref().unwrap_or_default(),
                            first.key.table.label(),
                            self.stray(&stray)
                        );
                        let label = table.key.table.label();
                        let drift = Drift::new(DriftKind::Colocation, Some(&label), message);
                        self.drift.push(drift);
                        home = Some(number);
                    }
                    Together::Yes(_) => home = Some(number),
                    _ if is_said => home = Some(number),
                    _ => continue,
                }
                break;
            }
            match home.and_then(|home| groups.get_mut(home)) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        for group in groups {
            let members: Vec<&Found<'a>> =
                group.iter().filter_map(|index| found.get(*index)).collect();
            self.name_group(&members).await?;
        }
        Ok(())
    }

    /// Whether equal keys of two tables are on the same shard.
    async fn together(&self, one: &Found<'a>, other: &Found<'a>) -> Result<Together> {
        if let (Some(rule), Some(others)) = (&one.rule, &other.rule)
            && rule.shards == others.shards
        {
            // One rule for both: it holds for every row, whether keys are common or not.
            return Ok(Together::Yes(0));
        }
        keys::check_together(
            self.shards,
            (one.key, &one.sample),
            (other.key, &other.sample),
        )
        .await
    }

    /// Gives tables that live together the name of their group.
    async fn name_group(&mut self, members: &[&Found<'a>]) -> Result<()> {
        if members.len() < 2 {
            return Ok(());
        }
        let is_ruled = members.iter().all(|member| member.rule.is_some());
        if self.reading.verify && !is_ruled && members.iter().all(|m| m.is_proven) {
            let keys: Vec<Key<'a>> = members.iter().map(|member| member.key).collect();
            if let Disjoint::No { examples, .. } =
                keys::verify(self.shards, &keys, self.reading).await?
            {
                let shown: Vec<String> = examples.iter().map(|stray| self.stray(stray)).collect();
                let shown = shown.join(", ");
                for member in members {
                    if member.is_declared && member.group.is_some() {
                        let label = member.key.table.label();
                        let message = format!(
                            "equal keys of its colocation group are on two shards: {shown}"
                        );
                        let drift = Drift::new(DriftKind::Colocation, Some(&label), message);
                        self.drift.push(drift);
                    }
                }
                return Ok(());
            }
        }
        // A declared name, else that of the table whose rows the key identifies.
        let declared = members.iter().find_map(|member| member.group.clone());
        let parent = members
            .iter()
            .find(|member| {
                member.key.table.keys.first() == Some(&vec![member.key.column.name.clone()])
            })
            .or(members.first());
        let Some(name) = declared.or_else(|| parent.map(|parent| parent.key.table.name.clone()))
        else {
            return Ok(());
        };
        for member in members {
            if member.is_declared {
                continue;
            }
            if let Some(report) = self.reports.get_mut(member.place)
                && let Some(TableKind::Sharded { colocation, .. }) = &mut report.kind
            {
                colocation.get_or_insert_with(|| name.clone());
                report.why.push_str(match is_ruled {
                    true => "; the same rule as the rest of its group",
                    false => "; its keys are where the rest of its group has them",
                });
            }
        }
        Ok(())
    }

    fn set(
        &mut self,
        place: usize,
        key: &str,
        colocation: Option<String>,
        shard_index: Option<String>,
        why: String,
    ) {
        if let Some(report) = self.reports.get_mut(place) {
            report.kind = Some(TableKind::Sharded {
                key: key.to_owned(),
                colocation,
                shard_index,
            });
            report.why = why;
        }
    }

    fn explain(&mut self, place: usize, why: impl Into<String>) {
        if let Some(report) = self.reports.get_mut(place) {
            report.why = why.into();
        }
    }
}

fn if_sampled(sampled: bool) -> &'static str {
    match sampled {
        true => ", by their number and a sample",
        false => "",
    }
}
