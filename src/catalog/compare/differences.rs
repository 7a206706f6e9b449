//! How the shards differ on a relation: everything, and what of it a query is refused with.

use super::{Comparison, PerShard, each, places};
use crate::catalog::facts;

/// One way in which the shards differ on a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) aspect: Aspect,
    /// Which shards differ how, in what follows the name of the relation.
    pub(crate) message: String,
}

/// In what relations of one name differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aspect {
    /// Some shards do not have it.
    Missing,
    Kind,
    /// A table has partitions on some shards only.
    Partitioning,
    /// The query of a view.
    Query,
    RowSecurity,
    MissingColumn,
    ColumnOrder,
    ColumnType,
    Nullability,
    /// The expression of a generated column.
    Expression,
    ColumnCollation,
    Keys,
}

impl Aspect {
    /// Whether a query may get another answer than from one database. The rest is either stored with
    /// the rows, or holds for all shards only where it holds for each.
    fn changes_answers(self) -> bool {
        match self {
            Self::Missing
            | Self::Kind
            | Self::Query
            | Self::MissingColumn
            | Self::ColumnOrder
            | Self::ColumnType
            | Self::ColumnCollation => true,
            Self::Partitioning
            | Self::RowSecurity
            | Self::Nullability
            | Self::Expression
            | Self::Keys => false,
        }
    }
}

/// What each shard has of a relation.
pub(super) type Relations<'a> = PerShard<&'a facts::ShardRelation>;

/// What may differ, and how it does.
type Found = (Aspect, Option<String>);

impl Comparison<'_> {
    /// All ways in which the shards differ on a relation.
    pub(crate) fn relation_differences(&self, shards: &Relations<'_>) -> Vec<Difference> {
        if shards.windows(2).all(|pair| pair[0] == pair[1]) {
            return Vec::new();
        }
        let missing = self.missing_on(&places(shards, Option::is_none));
        let is_table = |it: &&facts::ShardRelation| matches!(it.kind, 'r' | 'p');
        let kind = match shards.iter().flatten().all(is_table) {
            true => Aspect::Partitioning,
            false => Aspect::Kind,
        };
        let kinds = each(shards, |it| kind_name(it.kind));
        let row_security = each(shards, |it| match it.row_security {
            true => "on",
            false => "off",
        });
        let mut found: Vec<Found> = vec![
            (Aspect::Missing, missing),
            (kind, self.differ("kind of relation", &kinds)),
            (
                Aspect::Query,
                self.differ("query of the view", &each(shards, query)),
            ),
            (
                Aspect::RowSecurity,
                self.differ("row security", &row_security),
            ),
        ];
        let columns = column_names(shards);
        found.extend(self.list_differences(&columns, shards));
        let of_columns = columns
            .into_iter()
            .flat_map(|name| self.column_differences(name, shards));
        found.extend(of_columns);
        let keys = self.differ("unique keys", &each(shards, key_list));
        found.push((Aspect::Keys, keys));
        let found = found.into_iter();
        let differences = found.filter_map(|(aspect, message)| {
            let message = message?;
            Some(Difference { aspect, message })
        });
        differences.collect()
    }

    /// Which columns are missing; or their order, in which `SELECT *` gives them.
    fn list_differences(&self, columns: &[&str], shards: &Relations<'_>) -> Vec<Found> {
        let missing = columns.iter().filter_map(|name| {
            let lacks = |it: &facts::ShardRelation| it.column(name).is_none();
            let missing = self.missing_on(&places(shards, |it| it.is_some_and(lacks)))?;
            let message = format!("column {name} is {missing}");
            Some((Aspect::MissingColumn, Some(message)))
        });
        let missing: Vec<Found> = missing.collect();
        match missing.is_empty() {
            true => {
                let order = self.differ("order of columns", &each(shards, column_list));
                vec![(Aspect::ColumnOrder, order)]
            }
            false => missing,
        }
    }

    fn column_differences(&self, name: &str, shards: &Relations<'_>) -> [Found; 4] {
        let columns = shards.iter().map(|it| (*it)?.column(name));
        let columns: PerShard<&facts::Column> = columns.collect();
        let differ = |what: &str, read: fn(&facts::Column) -> &str| {
            let what = format!("{what} of column {name}");
            self.differ(&what, &each(&columns, read))
        };
        let data_type = differ("type", |it| &it.data_type)
            // Domains of one name may hide different base types.
            .or_else(|| differ("base type", |it| &it.base));
        let nullability = differ("nullability", |it| match it.not_null {
            true => "not null",
            false => "nullable",
        });
        let expression = differ("expression", |it| or_none(&it.generated));
        let collation = differ("collation", |it| or_none(&it.collation));
        [
            (Aspect::ColumnType, data_type),
            (Aspect::Nullability, nullability),
            (Aspect::Expression, expression),
            (Aspect::ColumnCollation, collation),
        ]
    }

    /// The first difference that can change an answer: of queries a line, of columns the list.
    pub(super) fn refusal(&self, label: &str, shards: &Relations<'_>) -> Option<String> {
        let mut all = self.relation_differences(shards).into_iter();
        let first = all.find(|it| it.aspect.changes_answers())?;
        let message = match first.aspect {
            Aspect::Missing => return Some(format!("{label} is {}", first.message)),
            Aspect::Query => self.line_difference(shards),
            Aspect::MissingColumn | Aspect::ColumnOrder => {
                self.differ("list of columns", &each(shards, column_list))
            }
            _ => None,
        };
        Some(format!("{label}: {}", message.unwrap_or(first.message)))
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
fn column_names<'a>(shards: &Relations<'a>) -> Vec<&'a str> {
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
