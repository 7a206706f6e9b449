//! Finds out which sharded tables live together, and checks those that are said to.

use std::collections::BTreeSet;

use super::{Found, Judge};
use crate::config::TableKind;
use crate::error::Result;
use crate::inspect::drift::DriftKind;
use crate::inspect::keys::{self, Disjoint, Key, Stray, Together};
use crate::inspect::report::Origin;
use crate::inspect::shards::Refusal;

/// Whether tables live together.
enum Meeting {
    /// All rows were looked at, or as many as could be.
    Together,
    Apart(Vec<Stray>),
    Refused(Refusal),
}

impl<'a> Judge<'a> {
    pub(super) async fn groups(&mut self) -> Result<()> {
        if self.shards.len() < 2 {
            return Ok(());
        }
        let found = std::mem::take(&mut self.found);
        let mut groups = declared_groups(&found);
        for (name, members) in &groups {
            let members: Vec<&Found<'a>> = members.iter().filter_map(|it| found.get(*it)).collect();
            self.check_group(name, &members).await?;
        }
        let mut homes: Vec<Vec<usize>> =
            groups.iter().map(|(_, members)| members.clone()).collect();
        for (index, table) in found.iter().enumerate() {
            // What was declared without a group is left so.
            if table.origin != Origin::Declared && table.group.is_none() {
                self.guess_group(&found, index, &mut homes).await?;
            }
        }
        let mut taken = self.declared_names();
        for (place, members) in homes.into_iter().enumerate() {
            let members: Vec<&Found<'a>> = members.iter().filter_map(|it| found.get(*it)).collect();
            let name = match groups.get_mut(place) {
                Some((name, _)) => std::mem::take(name),
                None => new_name(&members, &mut taken),
            };
            self.set_group(&members, &name);
        }
        Ok(())
    }

    /// The names of all groups that were declared, also of tables that are not sound.
    fn declared_names(&self) -> BTreeSet<String> {
        let names = self.declared.values().filter_map(|it| match &it.kind {
            TableKind::Sharded { colocation, .. } => colocation.clone(),
            TableKind::Replicated => None,
        });
        names.collect()
    }

    /// Checks a group that was declared.
    async fn check_group(&mut self, name: &str, members: &[&Found<'a>]) -> Result<()> {
        let Some((first, others)) = members.split_first() else {
            return Ok(());
        };
        let label = first.key.table.label();
        let mut comparable = vec![*first];
        for other in others {
            match first.key.is_comparable(&other.key) {
                true => comparable.push(other),
                false => {
                    let message = format!(
                        "in colocation group {name} with {}, but their keys have different types, \
                         {} and {}: no row of one has a key of the other",
                        other.key.table.label(),
                        first.key.column.base,
                        other.key.column.base
                    );
                    self.drift(DriftKind::Colocation, Some(&label), message);
                }
            }
        }
        if comparable.len() < 2 {
            return Ok(());
        }
        let others: Vec<String> = comparable
            .iter()
            .skip(1)
            .map(|it| it.key.table.label())
            .collect();
        let others = others.join(", ");
        match self.meet(&comparable).await? {
            Meeting::Together => {}
            Meeting::Apart(strays) => {
                let shown: Vec<String> = strays
                    .iter()
                    .map(|stray| self.stray(stray, &comparable))
                    .collect();
                let message = format!(
                    "in colocation group {name} with {others}, but not on the same shards: key {}; \
                     take one of them out of the group, or move its rows",
                    shown.join(", key ")
                );
                self.drift(DriftKind::Colocation, Some(&label), message);
            }
            Meeting::Refused(Refusal(message)) => {
                let message =
                    format!("in colocation group {name} with {others}, but not checked: {message}");
                self.drift(DriftKind::Unchecked, Some(&label), message);
            }
        }
        Ok(())
    }

    /// Compares the keys of tables: all of them where all rows are looked at, else samples.
    async fn meet(&self, members: &[&Found<'a>]) -> Result<Meeting> {
        let nulls: Vec<&[u64]> = members.iter().map(|it| it.nulls.as_slice()).collect();
        if let Some(stray) = keys::stray_null(&nulls) {
            return Ok(Meeting::Apart(vec![stray]));
        }
        if members.iter().all(|it| it.is_checked) {
            self.shards.tell(|| {
                let labels: Vec<String> = members.iter().map(|it| it.key.table.label()).collect();
                format!("{}: comparing all keys", labels.join(", "))
            });
            let keys: Vec<Key<'a>> = members.iter().map(|it| it.key).collect();
            return Ok(
                match keys::verify(self.shards, &keys, self.reading).await? {
                    Disjoint::Yes { .. } => Meeting::Together,
                    Disjoint::No { examples, .. } => Meeting::Apart(examples),
                    Disjoint::Refused(refusal) => Meeting::Refused(refusal),
                },
            );
        }
        let Some((first, others)) = members.split_first() else {
            return Ok(Meeting::Together);
        };
        for (place, other) in others.iter().enumerate() {
            if let Together::No(mut stray) = self.sampled(first, other).await? {
                for (_, table) in &mut stray.homes {
                    *table *= place + 1;
                }
                return Ok(Meeting::Apart(vec![stray]));
            }
        }
        Ok(Meeting::Together)
    }

    async fn sampled(&self, one: &Found<'a>, other: &Found<'a>) -> Result<Together> {
        let (one, other) = ((one.key, &one.sample), (other.key, &other.sample));
        keys::check_together(self.shards, one, other).await
    }

    /// Puts a table into the group it lives with, or into one of its own.
    async fn guess_group(
        &mut self,
        found: &[Found<'a>],
        index: usize,
        groups: &mut Vec<Vec<usize>>,
    ) -> Result<()> {
        let Some(table) = found.get(index) else {
            return Ok(());
        };
        for group in groups.iter_mut() {
            let members: Vec<&Found<'a>> = group.iter().filter_map(|it| found.get(*it)).collect();
            if self.belongs(&members, table).await? {
                group.push(index);
                return Ok(());
            }
        }
        groups.push(vec![index]);
        Ok(())
    }

    /// Whether there is reason to think that a table lives with others, and nothing against it.
    async fn belongs(&mut self, members: &[&Found<'a>], table: &Found<'a>) -> Result<bool> {
        let Some(first) = members.first() else {
            return Ok(false);
        };
        if !members.iter().all(|it| it.key.is_comparable(&table.key)) {
            return Ok(false);
        }
        let refers = members.iter().any(|it| keys::refer(&it.key, &table.key));
        let is_ruled = table.rule.is_some()
            && members.iter().all(|it| {
                // One rule for all: it holds for every row, whether keys are common or not.
                let rules = (it.rule.as_ref(), table.rule.as_ref());
                matches!(rules, (Some(one), Some(other)) if one.shards == other.shards)
            });
        if is_ruled {
            return Ok(true);
        }
        let with = first.key.table.label();
        // Of tables that have nothing to do with each other nothing need be said.
        let is_expected = refers
            || table.origin == Origin::Given
            || keys::is_alike(&first.key.column.name, &table.key.column.name);
        let doubt = match self.sampled(first, table).await? {
            Together::No(stray) => {
                let stray = self.stray(&stray, &[first, table]);
                Some(format!("not colocated with {with}: key {stray}"))
            }
            Together::Unknown if !refers => Some(format!(
                "colocation with {with} was not decided: too few keys are in both"
            )),
            Together::Unknown | Together::Yes(_) => None,
        };
        if let Some(doubt) = doubt {
            if is_expected {
                self.note(table.place, doubt);
            }
            return Ok(false);
        }
        let all: Vec<&Found<'a>> = members.iter().copied().chain([table]).collect();
        let doubt = match self.meet(&all).await? {
            Meeting::Together => return Ok(true),
            Meeting::Apart(strays) => {
                let shown: Vec<String> = strays.iter().map(|it| self.stray(it, &all)).collect();
                format!("not colocated with {with}: key {}", shown.join(", key "))
            }
            Meeting::Refused(Refusal(message)) => {
                format!("colocation with {with} was not decided: {message}")
            }
        };
        self.note(table.place, doubt);
        Ok(false)
    }

    fn note(&mut self, place: usize, note: String) {
        if let Some(report) = self.report_mut(place) {
            report.notes.push(note);
        }
    }

    /// Gives tables that live together the name of their group.
    fn set_group(&mut self, members: &[&Found<'a>], name: &str) {
        if members.len() < 2 {
            return;
        }
        let is_ruled = members.iter().all(|member| member.rule.is_some());
        for member in members {
            if member.group.is_some() || member.origin == Origin::Declared {
                continue;
            }
            let Some(report) = self.report_mut(member.place) else {
                continue;
            };
            if let Some(TableKind::Sharded { colocation, .. }) = &mut report.kind {
                *colocation = Some(name.to_owned());
                report.why.push_str(match is_ruled {
                    true => "; the same rule as the rest of its group",
                    false => "; its keys are where the rest of its group has them",
                });
            }
        }
    }
}

/// The groups that were declared, each with its members.
fn declared_groups(found: &[Found<'_>]) -> Vec<(String, Vec<usize>)> {
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (index, table) in found.iter().enumerate() {
        let Some(name) = &table.group else { continue };
        match groups.iter_mut().find(|(other, _)| other == name) {
            Some((_, members)) => members.push(index),
            None => groups.push((name.clone(), vec![index])),
        }
    }
    groups
}

/// A name for a group that has none: that of the table whose rows the key identifies, with its
/// schema where another group has it.
fn new_name(members: &[&Found<'_>], taken: &mut BTreeSet<String>) -> String {
    let parent = members
        .iter()
        .find(|member| member.key.table.keys.first() == Some(&vec![member.key.column.name.clone()]))
        .or(members.first());
    let Some(table) = parent.map(|parent| parent.key.table) else {
        return String::new();
    };
    let numbered = (2..).map(|number| format!("{} {number}", table.label()));
    let mut names = [table.name.clone(), table.label()]
        .into_iter()
        .chain(numbered);
    let name = names.find(|name| !taken.contains(name)).unwrap_or_default();
    if members.len() > 1 {
        taken.insert(name.clone());
    }
    name
}
