//! How the shards differ on a relation: everything, and which queries are refused with it.

use super::{Comparison, PerShard, each, places};
use crate::catalog::facts;

/// One way in which the shards differ on a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) aspect: Aspect,
    /// Which shards differ how, without the name of the relation.
    pub(crate) message: String,
    /// Which queries are refused with what; none where no answer depends on it.
    pub(super) refusals: Vec<(Seen, String)>,
}

/// Where a query sees a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// Where it names the relation.
    Relation,
    /// Where it depends on which columns there are, or on their order, as `*` does.
    List,
    /// Where it names this column, or takes all of them.
    Column(String),
}

/// In what relations of one name differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aspect {
    /// Some shards do not have it.
    Missing,
    /// What it is as a whole.
    Definition,
    Column,
    /// Of a column.
    Collation,
}

impl Difference {
    fn shown(aspect: Aspect, message: String) -> Self {
        Self {
            aspect,
            message,
            refusals: Vec::new(),
        }
    }

    fn refused(aspect: Aspect, seen: Seen, message: String) -> Self {
        Self {
            refusals: vec![(seen, message.clone())],
            ..Self::shown(aspect, message)
        }
    }
}

/// What each shard has of a relation.
pub(super) type Relations<'a> = PerShard<&'a facts::ShardRelation>;

impl Comparison<'_> {
    /// All ways in which the shards differ on a relation.
    pub(crate) fn relation_differences(&self, shards: &Relations<'_>) -> Vec<Difference> {
        if shards.windows(2).all(|pair| pair[0] == pair[1]) {
            return Vec::new();
        }
        let missing = self
            .missing_on(&places(shards, Option::is_none))
            .map(|it| Difference::refused(Aspect::Missing, Seen::Relation, it));
        // Whether a table has partitions is nothing to a query.
        let is_table = |it: &&facts::ShardRelation| matches!(it.kind, 'r' | 'p');
        let kind = self
            .differ("kind of relation", &each(shards, |it| kind_name(it.kind)))
            .map(|it| match shards.iter().flatten().all(is_table) {
                true => Difference::shown(Aspect::Definition, it),
                false => Difference::refused(Aspect::Definition, Seen::Relation, it),
            });
        let query = self
            .differ("query of the view", &each(shards, query))
            .map(|it| {
                let line = self.line_difference(shards);
                Difference {
                    refusals: vec![(Seen::Relation, line.unwrap_or_else(|| it.clone()))],
                    ..Difference::shown(Aspect::Definition, it)
                }
            });
        let on_or_off = |it: &facts::ShardRelation| if it.row_security { "on" } else { "off" };
        let row_security = self
            .differ("row security", &each(shards, on_or_off))
            .map(|it| Difference::shown(Aspect::Definition, it));
        let keys = self
            .differ("unique keys", &each(shards, key_list))
            .map(|it| Difference::shown(Aspect::Definition, it));
        let names = column_names(shards);
        let of_columns = names
            .iter()
            .flat_map(|name| self.column_differences(name, shards));
        let whole = [missing, kind, query, row_security, keys].into_iter();
        whole
            .flatten()
            .chain(self.list_differences(&names, shards))
            .chain(of_columns)
            .collect()
    }

    /// Which columns are missing; or their order, in which `SELECT *` gives them.
    fn list_differences(&self, names: &[&str], shards: &Relations<'_>) -> Vec<Difference> {
        let lists = each(shards, column_list);
        let missing = names.iter().filter_map(|name| {
            let lacks = |it: &facts::ShardRelation| it.column(name).is_none();
            let missing = self.missing_on(&places(shards, |it| it.is_some_and(lacks)))?;
            let message = format!("column {name} is {missing}");
            let list = self.differ("list of columns", &lists);
            let list = list.map(|it| (Seen::List, it));
            let column = (Seen::Column((*name).to_owned()), message.clone());
            Some(Difference {
                refusals: list.into_iter().chain([column]).collect(),
                ..Difference::shown(Aspect::Column, message)
            })
        });
        let missing: Vec<Difference> = missing.collect();
        if !missing.is_empty() {
            return missing;
        }
        let order = self.differ("order of columns", &lists);
        let order = order.map(|it| Difference::refused(Aspect::Column, Seen::List, it));
        order.into_iter().collect()
    }

    fn column_differences(&self, name: &str, shards: &Relations<'_>) -> Vec<Difference> {
        let refused =
            |aspect, message| Difference::refused(aspect, Seen::Column(name.to_owned()), message);
        let columns = shards.iter().map(|it| (*it)?.column(name));
        let columns: PerShard<&facts::Column> = columns.collect();
        let differ = |what: &str, read: fn(&facts::Column) -> &str| {
            let what = format!("{what} of column {name}");
            self.differ(&what, &each(&columns, read))
        };
        let data_type = differ("type", |it| &it.data_type)
            // Domains of one name may hide different base types.
            .or_else(|| differ("base type", |it| &it.base))
            .map(|it| refused(Aspect::Column, it));
        let nullability = differ("nullability", |it| match it.not_null {
            true => "not null",
            false => "nullable",
        })
        .map(|it| Difference::shown(Aspect::Column, it));
        // Its values are stored.
        let expression = differ("expression", |it| or_none(&it.generated))
            .map(|it| Difference::shown(Aspect::Column, it));
        let collation = differ("collation", |it| or_none(&it.collation))
            .map(|it| refused(Aspect::Collation, it));
        [data_type, nullability, expression, collation]
            .into_iter()
            .flatten()
            .collect()
    }

    /// How the shards differ on the first line of a view's query that is not the same; `None` where
    /// they differ in the spaces around a line, which may belong to a literal.
    fn line_difference(&self, shards: &Relations<'_>) -> Option<String> {
        let queries = each(shards, query);
        let lines = queries.iter().flatten().map(|it| it.split('\n').count());
        (0..lines.max()?).find_map(|place| {
            let shown = each(shards, |it| {
                let line = query(it).split('\n').nth(place).unwrap_or("nothing");
                line.trim().trim_end_matches(';')
            });
            self.differ(&format!("line {} of the view's query", place + 1), &shown)
        })
    }
}

/// The names of the columns that any shard has.
pub(super) fn column_names<'a>(shards: &Relations<'a>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for column in shards.iter().flatten().flat_map(|it| &it.columns) {
        if !names.contains(&column.name.as_str()) {
            names.push(&column.name);
        }
    }
    names
}

fn column_list(relation: &facts::ShardRelation) -> String {
    let names: Vec<&str> = relation.columns.iter().map(|it| &*it.quoted).collect();
    names.join(", ")
}

fn query(relation: &facts::ShardRelation) -> &str {
    relation.definition.as_deref().unwrap_or_default()
}

/// The columns of each key.
fn key_list(relation: &facts::ShardRelation) -> String {
    let keys = relation.keys.iter();
    let keys: Vec<String> = keys
        .map(|key| format!("({})", key.columns.join(", ")))
        .collect();
    match keys.is_empty() {
        true => "none".to_owned(),
        false => keys.join(" "),
    }
}

fn or_none(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("none")
}

fn kind_name(relkind: char) -> &'static str {
    match relkind {
        'r' => "table",
        'p' => "partitioned table",
        'v' => "view",
        'm' => "materialized view",
        'f' => "foreign table",
        'S' => "sequence",
        _ => "other",
    }
}
