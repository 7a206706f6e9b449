//! Under which conditions the shards answer: what one query may rely on, over all of them.

use std::collections::HashMap;

use super::circumstances::{Circumstances, Policy, Read, RelationCircumstances};
use super::compare::{by_key, differences, name_list};
use super::settings::{self, Settings};

/// As many rows make an estimate large enough to be compared.
const MANY_ROWS: f64 = 1000.0;

/// What the shards do around a query, as one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    refusal: Option<Refusal>,
    roles: Option<String>,
    settings: Settings,
    common: Vec<(String, String)>,
    relations: HashMap<(String, String), Access>,
}

/// Why no query can be planned, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) what: String,
    pub(crate) hint: String,
}

/// How the connected roles meet a table or view, over all shards.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    /// Whether they may read all columns.
    pub(crate) readable: bool,
    /// Whether policies filter its rows on any shard.
    pub(crate) row_security: bool,
    /// The policies that do.
    pub(crate) policies: Vec<Policy>,
    /// How the shards differ on these.
    pub(crate) difference: Option<String>,
    /// Of a view that reads with the rights of another role than the connected one: that role.
    pub(crate) reads_as: Option<String>,
    /// What a view reads.
    pub(crate) reads: Vec<Read>,
    /// Schema and name of the tables of which each row names one.
    pub(crate) references: Vec<(String, String)>,
    /// Whether any shard has rows of it.
    pub(crate) has_rows: bool,
    /// How far the shards are apart in the number of rows, where that is known and more than chance.
    pub(crate) sizes: Option<String>,
}

impl Conditions {
    /// What the shards of these names have in common.
    pub(super) fn new(names: &[String], shards: &[Circumstances]) -> Self {
        let settings = Settings::compare(names, shards);
        let roles: Vec<Option<String>> = shards.iter().map(|it| Some(roles(it))).collect();
        let mut conditions = Self {
            refusal: None,
            roles: differences(names, &roles),
            settings,
            common: shards.first().map(settings::common).unwrap_or_default(),
            relations: relations(names, shards),
        };
        conditions.refusal = same_database(names, shards).or_else(|| conditions.settings_differ());
        conditions
    }

    /// Of two servers of which one has no tables of users: what they have in common as far as settings
    /// go.
    pub(super) fn of_settings(names: &[String], servers: &[Circumstances]) -> Self {
        Self {
            settings: Settings::compare(names, servers),
            ..Self::default()
        }
    }

    /// How the first differs of the settings that can change any answer.
    pub(crate) fn setting_difference(&self) -> Option<String> {
        let (name, difference) = self.settings.difference.as_ref()?;
        Some(format!("the setting {name} differs: {difference}"))
    }

    /// Why no query can be planned at all.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    fn settings_differ(&self) -> Option<Refusal> {
        let (name, _) = self.settings.difference.as_ref()?;
        Some(Refusal {
            what: self.setting_difference()?,
            hint: format!(
                "set it for all sessions, as {name:?} = \"...\" under [session.settings] of the \
                 topology, or make the servers alike"
            ),
        })
    }

    /// How the shards differ on who is connected.
    pub(crate) fn roles(&self) -> Option<&str> {
        self.roles.as_deref()
    }

    /// The settings that are compared and that any session may set, with the values that they have on
    /// the shards.
    pub(crate) fn common(&self) -> &[(String, String)] {
        &self.common
    }

    /// How the shards differ on what `current_setting` gives; `None` for a name of which nothing is
    /// known.
    pub(crate) fn setting(&self, name: &str) -> Option<Option<&str>> {
        self.settings.difference_of(name)
    }

    /// How the connected roles meet a table or view.
    pub(crate) fn access(&self, schema: &str, name: &str) -> Option<&Access> {
        self.relations.get(&(schema.to_owned(), name.to_owned()))
    }
}

fn roles(shard: &Circumstances) -> String {
    match shard.role == shard.session_role {
        true => shard.role.clone(),
        false => format!("{} (session of {})", shard.role, shard.session_role),
    }
}

/// Finds two shards that are one database: rows would count twice.
fn same_database(names: &[String], shards: &[Circumstances]) -> Option<Refusal> {
    let places = 0..shards.len();
    let mut pairs = places.flat_map(|second| (0..second).map(move |first| (first, second)));
    pairs.find_map(|(first, second)| {
        let is = shards
            .get(first)?
            .identity
            .sameness(&shards.get(second)?.identity)?;
        Some(Refusal {
            what: format!(
                "the shards {} are {is}: its rows would count twice",
                name_list(names, &[first, second])
            ),
            hint: "give each shard a database of its own; a fan-out may ask one database more \
                   than once, in other schemas say"
                .to_owned(),
        })
    })
}

fn relations(names: &[String], shards: &[Circumstances]) -> HashMap<(String, String), Access> {
    let found = by_key(shards.iter().map(|shard| {
        let relations = shard.relations.iter();
        relations.map(|it| ((&*it.schema, &*it.name), it))
    }));
    let merged = found.into_iter().map(|((schema, name), relations)| {
        let access = access(names, shards, &relations);
        ((schema.to_owned(), name.to_owned()), access)
    });
    merged.collect()
}

fn access(
    names: &[String],
    shards: &[Circumstances],
    relations: &[Option<&RelationCircumstances>],
) -> Access {
    let present: Vec<&RelationCircumstances> = relations.iter().copied().flatten().collect();
    let policies: Vec<Option<String>> = relations.iter().map(|it| it.map(filter)).collect();
    let others = shards.iter().zip(relations).filter_map(|(shard, it)| {
        let role = it.as_ref()?.reads_as.as_ref()?;
        (*role != shard.role).then(|| role.clone())
    });
    Access {
        readable: present.iter().all(|it| it.readable),
        row_security: present.iter().any(|it| it.row_security),
        policies: present
            .iter()
            .find_map(|it| it.policies.clone())
            .unwrap_or_default(),
        difference: differences(names, &policies),
        reads_as: others.into_iter().next(),
        reads: reads(&present),
        references: present
            .iter()
            .flat_map(|it| it.references.iter().flatten().cloned())
            .collect(),
        has_rows: present.iter().any(|it| it.has_rows),
        sizes: sizes(names, relations),
    }
}

/// What filters the rows, for people.
fn filter(relation: &RelationCircumstances) -> String {
    if !relation.row_security {
        return "all rows".to_owned();
    }
    let policies = relation.policies.iter().flatten().map(|policy| {
        let expression = policy.expression.as_deref().unwrap_or("all rows");
        let kind = match policy.permissive {
            true => "policy",
            false => "restrictive policy",
        };
        format!("{kind} {}: {}", policy.name, flat(expression))
    });
    let policies: Vec<String> = policies.collect();
    match policies.is_empty() {
        true => "no row, by lack of a policy".to_owned(),
        false => policies.join(", "),
    }
}

/// A text on one line.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a view reads, and what holds on all shards.
fn reads(present: &[&RelationCircumstances]) -> Vec<Read> {
    let mut merged: Vec<Read> = Vec::new();
    for read in present.iter().flat_map(|it| it.reads.iter().flatten()) {
        let mut known = merged.iter_mut();
        match known.find(|it| it.schema == read.schema && it.name == read.name) {
            Some(it) => {
                it.readable &= read.readable;
                it.row_security |= read.row_security;
            }
            None => merged.push(read.clone()),
        }
    }
    merged
}

/// Says how many rows shards have where one has more than twice as many as another, both have many,
/// and neither what ANALYZE found nor the counters of changes leave that in doubt.
fn sizes(names: &[String], relations: &[Option<&RelationCircumstances>]) -> Option<String> {
    let sure = |(analyzed, counted): (f64, f64)| {
        let agree = counted >= analyzed / 2.0 && counted <= analyzed * 2.0;
        (agree && analyzed.min(counted) >= MANY_ROWS).then_some((analyzed, counted))
    };
    let known: Vec<Option<(f64, f64)>> = relations
        .iter()
        .map(|it| it.as_ref()?.estimates.and_then(sure))
        .collect();
    let of = |pick: fn(f64, f64) -> f64| known.iter().flatten().map(move |(a, b)| pick(*a, *b));
    let fewest = of(f64::max).reduce(f64::min)?;
    let most = of(f64::min).reduce(f64::max)?;
    if most <= 2.0 * fewest {
        return None;
    }
    let shown: Vec<Option<String>> = known
        .iter()
        .map(|it| it.map(|(analyzed, _)| format!("about {analyzed:.0} rows")))
        .collect();
    differences(names, &shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(estimates: Option<(f64, f64)>) -> RelationCircumstances {
        RelationCircumstances {
            schema: "public".to_owned(),
            name: "t".to_owned(),
            readable: true,
            row_security: false,
            policies: None,
            reads_as: None,
            reads: None,
            references: None,
            has_rows: true,
            estimates,
        }
    }

    #[test]
    fn only_sure_and_large_estimates_are_compared() {
        let names = ["s0".to_owned(), "s1".to_owned()];
        let compare = |first, second| {
            let (first, second) = (sized(first), sized(second));
            sizes(&names, &[Some(&first), Some(&second)])
        };
        let same = |rows| Some((rows, rows));
        assert_eq!(
            compare(same(5000.0), same(1000.0)).as_deref(),
            Some("about 5000 rows on s0; about 1000 rows on s1")
        );
        assert_eq!(compare(same(2000.0), same(1000.0)), None);
        assert_eq!(compare(same(5000.0), same(999.0)), None);
        assert_eq!(compare(same(5000.0), None), None);
        // Not analyzed since it was filled; counters that were reset.
        assert_eq!(compare(same(5000.0), Some((1000.0, 5000.0))), None);
        assert_eq!(compare(same(5000.0), Some((1000.0, 0.0))), None);
        // Nearly twice, by what each says at least.
        assert_eq!(compare(Some((1900.0, 2500.0)), same(1000.0)), None);
    }
}
