//! Functions, and what calls them: those of users are compared, of the others the properties are
//! collected.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Comparison, PerShard, by_key};
use crate::catalog::{
    Cast, Code, Function, FunctionKind, Operator, Origin, TypeCalls, Volatility, facts, type_key,
};

impl Comparison<'_> {
    /// How the shards differ on functions of users, a sentence for each name; but for procedures and
    /// functions of triggers, which no query calls.
    pub(crate) fn function_differences(&self) -> BTreeSet<String> {
        let triggers: BTreeSet<(&str, &str)> = self
            .facts
            .iter()
            .flat_map(|facts| &facts.functions)
            .filter(|it| it.signature.as_deref().is_some_and(is_of_triggers))
            .map(|it| (&*it.schema, &*it.name))
            .collect();
        let functions = self.functions().into_iter().filter(|it| {
            it.kind != FunctionKind::Procedure && !triggers.contains(&(&*it.schema, &*it.name))
        });
        functions.filter_map(|it| it.difference).collect()
    }

    pub(super) fn functions(&self) -> Vec<Function> {
        let mut found: BTreeSet<Properties<'_>> = BTreeSet::new();
        let mut users: BTreeMap<(&str, &str), Vec<Vec<&facts::Function>>> = BTreeMap::new();
        for (shard, facts) in self.facts.iter().enumerate() {
            for it in &facts.system_functions {
                found.extend(it.names.iter().map(|name| system(it, name)));
            }
            for it in &facts.functions {
                found.insert(own(it));
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
            .map(|it| Function {
                schema: it.schema.to_owned(),
                name: it.name.to_owned(),
                kind: it.kind,
                volatility: it.volatility,
                origin: it.origin,
                arguments: it.arguments,
                gives_values: it.gives_values,
                difference: match it.origin {
                    Origin::User => differences.get(&(it.schema, it.name)).cloned(),
                    Origin::System | Origin::Extension => None,
                },
                code: it.code,
            })
            .collect()
    }

    /// The operators of users and extensions.
    pub(super) fn operators(&self) -> Vec<Operator> {
        let mut found: BTreeMap<(&str, &str), Vec<BTreeSet<&facts::Operator>>> = BTreeMap::new();
        for (shard, facts) in self.facts.iter().enumerate() {
            for it in &facts.operators {
                let shards = found
                    .entry((&it.schema, &it.name))
                    .or_insert_with(|| vec![BTreeSet::new(); self.facts.len()]);
                if let Some(operators) = shards.get_mut(shard) {
                    operators.insert(it);
                }
            }
        }
        let merged = found.into_iter().flat_map(|((schema, name), shards)| {
            let shown: Vec<Option<String>> = shards
                .iter()
                .map(|operators| Some(operators_of(operators)))
                .collect();
            let difference = self.differ(&format!("operator {schema}.{name}"), &shown);
            let all: BTreeSet<&facts::Operator> = shards.into_iter().flatten().collect();
            all.into_iter().map(move |it| Operator {
                schema: it.schema.clone(),
                name: it.name.clone(),
                origin: origin(it.is_member),
                function: it.function.clone(),
                difference: difference.clone().filter(|_| !it.is_member),
            })
        });
        merged.collect()
    }

    /// The casts of users.
    pub(super) fn casts(&self) -> Vec<Cast> {
        let found = by_key(self.facts.iter().map(|facts| {
            let casts = facts.casts.iter();
            casts.map(|it| ((&it.source, &it.target), it))
        }));
        let merged = found.into_iter().filter_map(|((source, target), shards)| {
            let facts = shards.iter().copied().flatten().next()?.clone();
            let what = format!("cast from {source} to {target}");
            let difference = self.difference(&what, &shards, |it| {
                let by = match it.method {
                    'f' => format!("calls {}.{}", it.function.0, it.function.1),
                    'i' => "goes by the texts".to_owned(),
                    _ => "takes the bytes".to_owned(),
                };
                let when = match it.context {
                    'i' => ", also unwritten",
                    'a' => ", also unwritten in assignments",
                    _ => "",
                };
                format!("{by}{when}")
            });
            Some(Cast { facts, difference })
        });
        merged.collect()
    }

    /// What values of types call, by the types' keys.
    pub(super) fn type_calls(&self) -> HashMap<String, TypeCalls> {
        let mut found: HashMap<String, TypeCalls> = HashMap::new();
        for facts in &self.facts {
            for (sql, it) in &facts.types {
                // Types that differ are refused wherever they are used.
                found.entry(type_key(sql)).or_insert_with(|| TypeCalls {
                    calls: it.calls.clone().unwrap_or_default(),
                    check: it.check.clone(),
                    parts: it.parts.clone().unwrap_or_default(),
                });
            }
            for it in &facts.relations {
                let columns = it.columns.iter().map(|column| column.data_type.clone());
                let key = type_key(&format!("{}.{}", it.schema, it.name));
                found.entry(key).or_default().parts.extend(columns);
            }
            for (sql, calls) in &facts.classes {
                let known = found.entry(type_key(sql)).or_default();
                known.calls.extend(calls.iter().cloned());
            }
        }
        found
    }

    /// How the shards differ on the functions of one name.
    fn function_difference(
        &self,
        (schema, name): (&str, &str),
        shards: &[Vec<&facts::Function>],
    ) -> Option<String> {
        let label = format!("function {schema}.{name}");
        let present: PerShard<&facts::Function> =
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

/// What functions may have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Properties<'a> {
    schema: &'a str,
    name: &'a str,
    kind: FunctionKind,
    volatility: Volatility,
    origin: Origin,
    arguments: (usize, Option<usize>),
    gives_values: bool,
    code: Option<Code>,
}

fn system<'a>(functions: &'a facts::SystemFunctions, name: &'a str) -> Properties<'a> {
    Properties {
        schema: &functions.schema,
        name,
        kind: function_kind(functions.kind),
        volatility: volatility(functions.volatility),
        origin: Origin::System,
        arguments: (functions.least, functions.most),
        gives_values: functions.gives_values,
        code: None,
    }
}

fn own(function: &facts::Function) -> Properties<'_> {
    Properties {
        schema: &function.schema,
        name: &function.name,
        kind: function_kind(function.kind),
        volatility: volatility(function.volatility),
        origin: origin(function.is_member),
        arguments: (function.least, function.most),
        gives_values: function.gives_values,
        code: Some(Code {
            language: function.language.clone(),
            signature: function.signature.clone().unwrap_or_default(),
            body: function.body.clone(),
            calls: function.calls.clone().unwrap_or_default(),
            types: function.types.clone().unwrap_or_default(),
            outputs: function.outputs.clone().unwrap_or_default(),
            gives_rows: function.gives_rows,
        }),
    }
}

fn origin(is_member: bool) -> Origin {
    match is_member {
        true => Origin::Extension,
        false => Origin::User,
    }
}

fn is_of_triggers(signature: &str) -> bool {
    [" returns trigger", " returns event_trigger"]
        .iter()
        .any(|end| signature.ends_with(end))
}

/// What one shard has of the operators of a name.
fn operators_of(operators: &BTreeSet<&facts::Operator>) -> String {
    let shown: Vec<String> = operators
        .iter()
        .filter(|it| !it.is_member)
        .map(|it| {
            let (schema, function) = &it.function;
            format!("({}) calls {schema}.{function}", it.operands)
        })
        .collect();
    match shown.is_empty() {
        true => "nothing".to_owned(),
        false => shown.join(", "),
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
