//! Functions: those of users are compared, of the others the properties are collected.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{PerShard, Shards};
use crate::catalog::{Function, FunctionKind, Origin, Volatility, facts};

impl Shards<'_> {
    pub(super) fn functions(&self) -> Vec<Function> {
        let mut found: BTreeSet<(&str, &str, FunctionKind, Volatility, Origin)> = BTreeSet::new();
        let mut users: BTreeMap<(&str, &str), Vec<Vec<&facts::Function>>> = BTreeMap::new();
        for (shard, facts) in self.facts.iter().enumerate() {
            for it in &facts.system_functions {
                let (kind, volatility) = (function_kind(it.kind), volatility(it.volatility));
                found.extend(
                    it.names
                        .iter()
                        .map(|name| (&*it.schema, name.as_str(), kind, volatility, Origin::System)),
                );
            }
            for it in &facts.functions {
                let origin = match it.is_member {
                    true => Origin::Extension,
                    false => Origin::User,
                };
                let (kind, volatility) = (function_kind(it.kind), volatility(it.volatility));
                found.insert((&it.schema, &it.name, kind, volatility, origin));
                if it.is_member {
                    continue;
                }
                let shards = users
                    .entry((&it.schema, &it.name))
                    .or_insert_with(|| vec![Vec::new(); self.facts.len()]);
                if let Some(overloads) = shards.get_mut(shard) {
                    overloads.push(it);
                }
            }
        }
        let differences: HashMap<(&str, &str), String> = users
            .iter()
            .filter_map(|(key, shards)| Some((*key, self.function_difference(*key, shards)?)))
            .collect();
        found
            .into_iter()
            .map(|(schema, name, kind, volatility, origin)| Function {
                schema: schema.to_owned(),
                name: name.to_owned(),
                kind,
                volatility,
                origin,
                difference: match origin {
                    Origin::User => differences.get(&(schema, name)).cloned(),
                    Origin::System | Origin::Extension => None,
                },
            })
            .collect()
    }

    /// How the shards differ on the functions of one name.
    fn function_difference(
        &self,
        (schema, name): (&str, &str),
        shards: &[Vec<&facts::Function>],
    ) -> Option<String> {
        let label = format!("function {schema}.{name}");
        let present: PerShard<'_, facts::Function> =
            shards.iter().map(|it| it.first().copied()).collect();
        if let Some(missing) = self.missing(&label, &present) {
            return Some(missing);
        }
        let all = |read: &dyn Fn(&facts::Function) -> String| -> Vec<Option<String>> {
            let lists = shards.iter().map(|overloads| {
                let list: Vec<String> = overloads.iter().map(|it| read(it)).collect();
                Some(list.join(", "))
            });
            lists.collect()
        };
        let declared = all(&|it| {
            format!(
                "{} {}",
                it.signature.as_deref().unwrap_or_default(),
                volatility_name(it.volatility)
            )
        });
        // The body itself may be long, or not be meant for everybody's eyes.
        let defined = all(&|it| {
            let hash = it.fingerprint.as_deref().unwrap_or_default();
            format!("hash {}", hash.get(..8).unwrap_or(hash))
        });
        let kinds = all(&|it| it.kind.to_string());
        self.differ(&label, &declared)
            .or_else(|| self.differ(&format!("kind of {label}"), &kinds))
            .or_else(|| self.differ(&format!("definition of {label}"), &defined))
    }
}

fn function_kind(prokind: char) -> FunctionKind {
    match prokind {
        'a' => FunctionKind::Aggregate,
        'w' => FunctionKind::Window,
        'p' => FunctionKind::Procedure,
        _ => FunctionKind::Normal,
    }
}

fn volatility(provolatile: char) -> Volatility {
    match provolatile {
        'i' => Volatility::Immutable,
        's' => Volatility::Stable,
        _ => Volatility::Volatile,
    }
}

fn volatility_name(provolatile: char) -> &'static str {
    match volatility(provolatile) {
        Volatility::Immutable => "immutable",
        Volatility::Stable => "stable",
        Volatility::Volatile => "volatile",
    }
}
