//! Finds the key of a table whose rows differ, or checks the one that was declared.

use super::{Declared, Found, Judge};
use crate::catalog::name_list;
use crate::config::TableKind;
use crate::error::Result;
use crate::inspect::contents::{Contents, Verdict};
use crate::inspect::drift::DriftKind;
use crate::inspect::keys::{self, Disjoint, Key, Sample};
use crate::inspect::merged::Merged;
use crate::inspect::report::{Origin, Undecided, count_rows};
use crate::inspect::rule::{self, Guess, Rule};
use crate::inspect::shards::{EXAMPLES, Refusal};

/// What was found out about a key.
struct Checked {
    sample: Sample,
    nulls: Vec<u64>,
    disjoint: Disjoint,
    /// Whether all rows were looked at.
    is_full: bool,
}

/// How thoroughly a key is looked at.
#[derive(Clone, Copy, PartialEq)]
enum Effort {
    /// A sample is enough to say no.
    Guess,
    /// It has to be said how many keys are astray.
    Declared,
}

impl<'a> Judge<'a> {
    pub(super) async fn key(
        &mut self,
        place: usize,
        table: &'a Merged,
        contents: &Contents,
    ) -> Result<()> {
        let declared = self.declared.get(&place).cloned();
        match declared.map(|Declared { kind, is_new, .. }| (kind, is_new)) {
            Some((kind @ TableKind::Sharded { .. }, is_new)) => {
                self.declared_key(place, table, kind, is_new).await
            }
            _ => self.guessed_key(place, table, contents).await,
        }
    }

    async fn declared_key(
        &mut self,
        place: usize,
        table: &'a Merged,
        kind: TableKind,
        is_new: bool,
    ) -> Result<()> {
        let label = table.label();
        let TableKind::Sharded {
            key: name,
            colocation,
            shard_index,
        } = &kind
        else {
            return Ok(());
        };
        // It is a column: the contents were looked at.
        let Some(key) = Key::new(table, name) else {
            return Ok(());
        };
        let (word, origin) = match is_new {
            true => ("key given", Origin::Given),
            false => ("declared", Origin::Declared),
        };
        let checked = match self.check_key(key, Effort::Declared).await? {
            Ok(checked) => checked,
            Err(refusal) => {
                self.unchecked(place, &label, word, &refusal);
                return Ok(());
            }
        };
        let mut why = match &checked.disjoint {
            Disjoint::Yes { .. } => format!("{word}; {}", self.no_strays(key, &checked)),
            Disjoint::No { .. } => {
                let message = format!(
                    "{}; move the rows of each key to one shard, or declare another key",
                    self.strays(&checked.disjoint, name)
                );
                self.drift(DriftKind::Key, Some(&label), message);
                format!("{word}, but keys are on two shards")
            }
            Disjoint::Refused(refusal) => {
                self.unchecked(place, &label, word, refusal);
                return Ok(());
            }
        };
        if self.reading.verify && !key.is_exact() && self.shards.len() > 1 {
            let message = format!(
                "{label}: not all keys {name} were compared: equal values of type {} may have \
                 different texts",
                key.column.base
            );
            self.findings.warnings.push(message);
        }
        let is_disjoint = matches!(checked.disjoint, Disjoint::Yes { .. });
        let guess = self.rule(key, &checked).await?;
        if let Some(declared) = shard_index
            && self.check_rule(&label, key, declared).await?
        {
            why.push_str("; every row is where shard_index says");
        }
        if let Some(report) = self.report_mut(place) {
            report.why = why;
            report.is_checked = is_disjoint && checked.is_full;
            report.is_contradicted = !is_disjoint;
        }
        if is_new && !is_disjoint {
            let why = format!("keys {name} are on two shards");
            self.undecided(place, Undecided::table(&why));
        }
        // What was declared without a rule is left so: only the text tells.
        let rule = match is_new && shard_index.is_none() {
            true => self.set_rule(place, guess),
            false => match guess {
                Guess::Rule(rule) => Some(rule),
                Guess::None | Guess::TooFew { .. } => None,
            },
        };
        if is_disjoint {
            self.found.push(Found {
                place,
                key,
                sample: checked.sample,
                nulls: checked.nulls,
                rule,
                is_checked: checked.is_full,
                group: colocation.clone(),
                origin,
            });
        }
        Ok(())
    }

    /// Whether all rows are where a declared rule says.
    async fn check_rule(&mut self, label: &str, key: Key<'a>, rule: &str) -> Result<bool> {
        self.shards
            .tell(|| format!("{label}: checking shard_index"));
        let message = match rule::check(self.shards, key, rule).await? {
            Ok(astray) if astray.is_empty() => return Ok(true),
            Ok(astray) => {
                let shown = astray.iter().map(|astray| {
                    let name = self.names.get(astray.shard).map_or("", String::as_str);
                    let examples = astray
                        .examples
                        .iter()
                        .map(|(key, says)| format!("{key:?} belongs on {}", self.number(says)));
                    format!(
                        "{} on {name} ({})",
                        count_rows(astray.rows),
                        examples.collect::<Vec<_>>().join(", ")
                    )
                });
                let shown = shown.collect::<Vec<_>>().join("; ");
                format!(
                    "rows that are not on the shard {rule}: {shown}; mend shard_index, or move the \
                     rows"
                )
            }
            Err(Refusal(message)) => {
                format!("shard_index {rule} cannot be evaluated: {message}")
            }
        };
        self.drift(DriftKind::ShardIndex, Some(label), message);
        Ok(false)
    }

    /// The shard that a rule says.
    fn number(&self, says: &str) -> String {
        let shard = says
            .parse()
            .ok()
            .and_then(|shard: usize| self.names.get(shard));
        match shard {
            Some(name) => name.clone(),
            None => format!("no shard: {says}"),
        }
    }

    fn unchecked(&mut self, place: usize, label: &str, word: &str, refusal: &Refusal) {
        let Refusal(message) = refusal;
        let message = format!("keys could not be compared: {message}");
        if let Some(report) = self.report_mut(place) {
            report.why = format!("{word}; {message}");
        }
        self.drift(DriftKind::Unchecked, Some(label), message);
    }

    async fn guessed_key(
        &mut self,
        place: usize,
        table: &'a Merged,
        contents: &Contents,
    ) -> Result<()> {
        let known: Vec<Key<'a>> = self.found.iter().map(|found| found.key).collect();
        let candidates = keys::candidates(table, &known);
        let mut tried = Vec::new();
        for key in candidates {
            let name = &key.column.name;
            let checked = match self.check_key(key, Effort::Guess).await? {
                Ok(checked) => checked,
                Err(Refusal(message)) => {
                    tried.push(format!("{name} could not be compared ({message})"));
                    continue;
                }
            };
            match &checked.disjoint {
                Disjoint::Yes { keys } => match self.home_of_all(keys) {
                    None => {
                        let why = format!("rows differ; {}", self.no_strays(key, &checked));
                        return self.guess(place, key, checked, why).await;
                    }
                    Some(home) => tried.push(format!("{name} {home}")),
                },
                Disjoint::No { .. } => tried.push(self.strays(&checked.disjoint, name)),
                Disjoint::Refused(Refusal(message)) => {
                    tried.push(format!("{name} could not be compared ({message})"));
                }
            }
        }
        let tried = match tried.is_empty() {
            true => "no unique key to try".to_owned(),
            false => tried.join("; "),
        };
        let shown = match &contents.verdict {
            Verdict::Differ { shown, .. } => shown.as_str(),
            _ => "",
        };
        let why = format!(
            "rows differ ({shown}), but no key was found ({tried}): give it as --shard-key \
             {}=COLUMN",
            table.label()
        );
        if let Some(report) = self.report_mut(place) {
            report.undecided.push(Undecided::table(&why));
            report.why = why;
        }
        Ok(())
    }

    /// That keys are on fewer than two shards, so that any column would do.
    fn home_of_all(&self, keys: &[u64]) -> Option<String> {
        let homes: Vec<usize> = (0..keys.len())
            .filter(|shard| keys.get(*shard).is_some_and(|keys| *keys > 0))
            .collect();
        match homes.as_slice() {
            [] => Some("has no values".to_owned()),
            [home] => Some(format!(
                "has all its values on {}, which tells nothing",
                name_list(&self.names, &[*home])
            )),
            _ => None,
        }
    }

    /// Takes a column for the key that nobody gave.
    async fn guess(
        &mut self,
        place: usize,
        key: Key<'a>,
        checked: Checked,
        why: String,
    ) -> Result<()> {
        let guess = self.rule(key, &checked).await?;
        if let Some(report) = self.report_mut(place) {
            report.kind = Some(TableKind::sharded(&key.column.name));
            report.is_checked = checked.is_full;
            report.why = why;
        }
        let rule = self.set_rule(place, guess);
        self.found.push(Found {
            place,
            key,
            sample: checked.sample,
            nulls: checked.nulls,
            rule,
            is_checked: checked.is_full,
            group: None,
            origin: Origin::Guessed,
        });
        Ok(())
    }

    /// The rule by which the keys tell the shard, where all rows were looked at.
    async fn rule(&self, key: Key<'_>, checked: &Checked) -> Result<Guess> {
        match &checked.disjoint {
            Disjoint::Yes { keys } if checked.is_full => {
                rule::find(self.shards, key, &checked.sample, keys).await
            }
            _ => Ok(Guess::None),
        }
    }

    /// Writes down a rule that was found, or why it was not taken.
    fn set_rule(&mut self, place: usize, guess: Guess) -> Option<Rule> {
        let shards = self.shards.len();
        let report = self.report_mut(place)?;
        match guess {
            Guess::None => None,
            Guess::TooFew { sql, keys } => {
                let why = Guess::doubt(keys, shards);
                report
                    .undecided
                    .push(Undecided::key("shard_index", &sql, &why));
                None
            }
            Guess::Rule(rule) => {
                if let Some(TableKind::Sharded { shard_index, .. }) = &mut report.kind {
                    *shard_index = Some(rule.sql.clone());
                }
                let said = format!("; all {} rows are on shard {}", rule.rows, rule.sql);
                report.why.push_str(&said);
                Some(rule)
            }
        }
    }

    fn undecided(&mut self, place: usize, undecided: Undecided) {
        if let Some(report) = self.report_mut(place) {
            report.undecided.push(undecided);
        }
    }

    /// Whether any key is on two shards: by a sample, and by all rows of tables that are not too
    /// large, or all tables where asked for.
    async fn check_key(&self, key: Key<'a>, effort: Effort) -> Result<Result<Checked, Refusal>> {
        let label = key.table.label();
        let name = &key.column.name;
        self.shards.tell(|| format!("{label}: looking at {name}"));
        let sample = match keys::sample(self.shards, key, self.reading).await? {
            Ok(sample) => sample,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let nulls = match keys::nulls(self.shards, key).await? {
            Ok(nulls) => nulls,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let is_full = key.is_exact() && !self.reading.is_sampled(key.table);
        let mut disjoint = match (self.shards.len(), is_full, effort) {
            (1, ..) | (_, true, Effort::Declared) => Disjoint::Yes {
                keys: sample.iter().map(|keys| keys.len() as u64).collect(),
            },
            _ => keys::check_sample(self.shards, key, &sample).await?,
        };
        if is_full && self.shards.len() > 1 && matches!(disjoint, Disjoint::Yes { .. }) {
            self.shards
                .tell(|| format!("{label}: comparing all {name}"));
            disjoint = keys::verify(self.shards, &[key], self.reading).await?;
        }
        Ok(Ok(Checked {
            sample,
            disjoint: with_nulls(disjoint, &nulls),
            nulls,
            is_full: is_full || self.shards.len() == 1,
        }))
    }

    fn no_strays(&self, key: Key<'_>, checked: &Checked) -> String {
        let Disjoint::Yes { keys } = &checked.disjoint else {
            return String::new();
        };
        let count: u64 = keys.iter().sum();
        let mut text = match (self.shards.len(), checked.is_full, key.is_exact()) {
            (1, ..) => "there is only one shard".to_owned(),
            (_, true, _) => format!("none of all {count} keys is on two shards"),
            (_, _, true) => format!("none of {count} sampled keys is on two shards"),
            (_, _, false) => format!(
                "none of {count} sampled keys is on two shards, if equal ones of type {} have \
                 equal texts",
                key.column.base
            ),
        };
        for (shard, rows) in checked.nulls.iter().enumerate() {
            if *rows > 0 {
                let (rows, shard) = (count_rows(rows), name_list(&self.names, &[shard]));
                text.push_str(&format!("; {rows} without a key, on {shard} only"));
            }
        }
        text
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
        let shown: Vec<String> = examples
            .iter()
            .map(|stray| self.stray(stray, &[]))
            .collect();
        format!(
            "{strays} of {keys} keys {key} are on two shards: {}",
            shown.join(", ")
        )
    }
}

/// Counts NULL as a key.
fn with_nulls(disjoint: Disjoint, nulls: &[u64]) -> Disjoint {
    let Some(null) = keys::stray_null(&[nulls]) else {
        return disjoint;
    };
    match disjoint {
        Disjoint::Yes { keys } => Disjoint::No {
            examples: vec![null],
            strays: 1,
            keys: keys.iter().sum(),
        },
        Disjoint::No {
            mut examples,
            strays,
            keys,
        } => {
            examples.insert(0, null);
            examples.truncate(EXAMPLES);
            Disjoint::No {
                examples,
                strays: strays + 1,
                keys,
            }
        }
        refused @ Disjoint::Refused(_) => refused,
    }
}
