//! FROM clauses: tables, joins, derived tables and what their columns are.

use std::collections::HashMap;

use super::choices::Choices;
use super::expr::all_of;
use super::tables::{Expr, Home, TABLES, Table, columns_as_x};

/// Makes one statement.
#[derive(Debug)]
pub(super) struct Generator {
    pub(super) choices: Choices,
    /// What analysts write, and what shards can therefore answer; else everything.
    pub(super) everyday: bool,
    /// How many columns have been named.
    pub(super) names: usize,
    /// WITH clauses that the statement can refer to.
    pub(super) with: Vec<With>,
    aliases: HashMap<String, usize>,
}

/// A common table expression.
#[derive(Debug, Clone)]
pub(super) struct With {
    pub(super) name: String,
    pub(super) columns: Vec<Expr>,
    pub(super) key: Option<Vec<String>>,
    pub(super) replicated: bool,
    pub(super) used: bool,
}

/// The rows of a FROM clause.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) columns: Vec<Expr>,
    /// What is unique for each row, if something is.
    pub(super) key: Option<Vec<String>>,
    /// Every shard has all rows.
    pub(super) replicated: bool,
}

impl Scope {
    /// What to order by so that no two rows are equal.
    pub(super) fn order_of_rows(&self) -> Option<String> {
        let key = self.key.as_ref().filter(|key| !key.is_empty());
        key.map(|key| key.join(", "))
    }

    fn join(&mut self, other: Self) {
        self.columns.extend(other.columns);
        self.key = match (self.key.take(), other.key) {
            (Some(mut key), Some(other)) => {
                key.extend(other);
                Some(key)
            }
            _ => None,
        };
        self.replicated &= other.replicated;
    }
}

impl Generator {
    pub(super) fn new(choices: Choices, everyday: bool) -> Self {
        Self {
            choices,
            everyday,
            names: 0,
            with: Vec::new(),
            aliases: HashMap::new(),
        }
    }

    fn alias(&mut self, wanted: &str) -> String {
        let count = self.aliases.entry(wanted.to_owned()).or_default();
        *count += 1;
        match *count {
            1 => wanted.to_owned(),
            count => format!("{wanted}{count}"),
        }
    }

    pub(super) fn name(&mut self) -> String {
        self.names += 1;
        format!("c{}", self.names)
    }

    /// The number of a table that is sharded, mostly.
    pub(super) fn base_table(&mut self) -> usize {
        let weights: Vec<_> = TABLES
            .iter()
            .map(|table| match (self.everyday, table.home) {
                (true, Home::Global) => 0,
                _ => table.weight,
            })
            .collect();
        self.choices.weighted(&weights)
    }

    /// `sale s`, with or without the columns qualified.
    pub(super) fn table(&mut self, number: usize, may_be_bare: bool) -> (String, Scope) {
        let table: &Table = &TABLES[number];
        let bare = may_be_bare && !self.choices.chance(60);
        let alias = self.alias(table.alias);
        let columns = table.columns(&alias, bare);
        let key = table.key.split(' ');
        let key = key
            .map(|name| columns.iter().find(|column| column.name == name))
            .map(|column| column.expect("a column of the key").sql.clone());
        let scope = Scope {
            key: Some(key.collect()),
            replicated: table.home == Home::Replicated,
            columns,
        };
        (format!("{} {alias}", table.name), scope)
    }

    /// A FROM clause, and conditions that belong to it.
    pub(super) fn from(&mut self, depth: usize) -> (String, Scope, Vec<String>) {
        let begin = self.choices.begin();
        let joins = self.choices.weighted(&[50, 32, 13, 5]);
        let (mut text, mut scope) = self.first(depth, joins == 0);
        let mut conditions = Vec::new();
        for number in 1..=joins {
            let begin = self.choices.begin();
            self.join(
                depth,
                number == joins,
                &mut text,
                &mut scope,
                &mut conditions,
            );
            self.choices.end(begin);
        }
        if conditions.is_empty() && self.choices.chance(4) {
            self.lateral(&mut text, &mut scope);
        }
        self.choices.end(begin);
        (text, scope, conditions)
    }

    fn first(&mut self, depth: usize, alone: bool) -> (String, Scope) {
        let derived = if depth > 0 { 12 } else { 0 };
        let with = if self.with.is_empty() { 0 } else { 120 };
        match self.choices.weighted(&[100, derived, with]) {
            1 => self.derived(depth),
            2 => self.of_with(),
            _ => {
                let number = self.base_table();
                self.table(number, alone)
            }
        }
    }

    fn derived(&mut self, depth: usize) -> (String, Scope) {
        let inner = self.query(depth - 1, false);
        let alias = self.alias("d");
        let columns: Vec<_> = inner
            .columns
            .iter()
            .map(|column| column.renamed(&alias, &column.name))
            .collect();
        let key = inner
            .key
            .map(|key| key.iter().map(|name| format!("{alias}.{name}")).collect());
        let scope = Scope {
            columns,
            key,
            replicated: inner.replicated,
        };
        let word = if self.choices.chance(70) { "as " } else { "" };
        (format!("({}) {word}{alias}", inner.sql), scope)
    }

    fn of_with(&mut self) -> (String, Scope) {
        let number = self.choices.below(self.with.len());
        self.with[number].used = true;
        let with = self.with[number].clone();
        let alias = self.alias("w");
        let scope = Scope {
            columns: with
                .columns
                .iter()
                .map(|column| column.renamed(&alias, &column.name))
                .collect(),
            key: with
                .key
                .map(|key| key.iter().map(|name| format!("{alias}.{name}")).collect()),
            replicated: with.replicated,
        };
        (format!("{} {alias}", with.name), scope)
    }

    /// One more table, joined on columns of one domain.
    fn join(
        &mut self,
        depth: usize,
        is_last: bool,
        text: &mut String,
        scope: &mut Scope,
        conditions: &mut Vec<String>,
    ) {
        let derived = if depth > 0 { 8 } else { 0 };
        let with = if self.with.is_empty() { 0 } else { 20 };
        let candidates = match self.choices.weighted(&[100, derived, with]) {
            1 => vec![self.derived(depth)],
            2 => vec![self.of_with()],
            _ => Vec::new(),
        };
        let (other_text, other, on) = match candidates.into_iter().next() {
            Some((other_text, other)) => {
                let pairs = self.pairs(scope, &other);
                if pairs.is_empty() {
                    return;
                }
                let (a, b) = self.choices.pick(&pairs).clone();
                (other_text, other, (a, b))
            }
            None => {
                let mut tables = Vec::new();
                for (number, table) in TABLES.iter().enumerate() {
                    if self.everyday && table.home == Home::Global {
                        continue;
                    }
                    let other = Scope {
                        columns: columns_as_x()[number].clone(),
                        key: Some(
                            table
                                .key
                                .split(' ')
                                .map(|name| format!("x.{name}"))
                                .collect(),
                        ),
                        replicated: table.home == Home::Replicated,
                    };
                    for (a, b) in self.pairs(scope, &other) {
                        tables.push((number, a, b.name));
                    }
                }
                if tables.is_empty() {
                    return;
                }
                let (number, a, b) = self.choices.pick(&tables).clone();
                let (other_text, other) = self.table(number, false);
                let b = other.columns.iter().find(|column| column.name == b);
                let b = b.expect("a column").clone();
                (other_text, other, (a, b))
            }
        };
        let (a, b) = on;
        let colocated = a.shards && b.shards && !scope.replicated && !other.replicated;
        let outer = match (self.everyday, colocated) {
            (true, true) => [55, 35, 5, 5],
            (true, false) if scope.replicated && !other.replicated => [100, 0, 0, 0],
            (true, false) => [60, 40, 0, 0],
            (false, _) => [40, 30, 15, 15],
        };
        let kind = self.choices.weighted(&outer);
        let word = [
            *self.choices.pick(&["join", "inner join"]),
            "left join",
            "right join",
            "full join",
        ][kind];
        let same_name = a.name == b.name
            && scope
                .columns
                .iter()
                .filter(|column| column.name == a.name)
                .count()
                == 1;
        // What follows a comma cannot refer to what is before it in ON.
        if kind == 0 && is_last && self.choices.chance(8) {
            *text = format!("{text}, {other_text}");
            conditions.push(format!("{} = {}", a.sql, b.sql));
        } else if same_name && self.choices.chance(30) {
            *text = format!("{text} {word} {other_text} using ({})", a.name);
        } else {
            let extra = match kind < 3 && self.choices.chance(10) {
                true => format!(" and {}", self.predicate(&other, 0)),
                false => String::new(),
            };
            *text = format!("{text} {word} {other_text} on {} = {}{extra}", b.sql, a.sql);
        }
        // The shard key of a side that may be missing is none of the whole.
        let preserves_left = kind < 1 || kind == 1 && !scope.replicated;
        let preserves_right = kind == 0 || kind == 2 && !other.replicated;
        let left = scope.columns.len();
        scope.join(other);
        for (number, column) in scope.columns.iter_mut().enumerate() {
            column.shards &= if number < left {
                preserves_left
            } else {
                preserves_right
            };
        }
    }

    /// Columns of two scopes that can be compared without too many rows.
    fn pairs(&self, scope: &Scope, other: &Scope) -> Vec<(Expr, Expr)> {
        let mut pairs = Vec::new();
        let is_key = |scope: &Scope, column: &Expr| {
            scope
                .key
                .as_ref()
                .is_some_and(|key| *key == [column.sql.clone()])
        };
        for a in scope
            .columns
            .iter()
            .filter(|a| !a.domain.is_empty() && a.is_exact())
        {
            for b in &other.columns {
                if a.domain != b.domain || a.ty != b.ty {
                    continue;
                }
                // These have many rows for each key.
                let many = ["device", "visitor"].contains(&a.domain.as_str()) && !is_key(other, b);
                let joined = scope
                    .columns
                    .iter()
                    .filter(|column| column.domain == a.domain)
                    .count();
                let colocated = a.shards && b.shards && !(many && joined > 1);
                let allowed = match self.everyday {
                    true => colocated || other.replicated && is_key(other, b),
                    false => {
                        colocated
                            || is_key(other, b)
                            || is_key(scope, a)
                            || a.domain == "sale" && joined < 3
                    }
                };
                if allowed {
                    pairs.push((a.clone(), b.clone()));
                    // What analysts join most.
                    if colocated || other.replicated {
                        pairs.push((a.clone(), b.clone()));
                    }
                }
            }
        }
        pairs
    }

    /// The first rows of another table for each row.
    fn lateral(&mut self, text: &mut String, scope: &mut Scope) {
        let begin = self.choices.begin();
        let mut found = Vec::new();
        for a in scope.columns.iter().filter(|a| !a.domain.is_empty()) {
            for (number, table) in TABLES
                .iter()
                .enumerate()
                .filter(|(_, table)| !table.is_view())
            {
                for b in &columns_as_x()[number] {
                    let local = a.shards && b.shards || table.home == Home::Replicated;
                    if a.domain == b.domain && a.ty == b.ty && (local || !self.everyday) {
                        found.push((a.clone(), number, b.name.clone()));
                    }
                }
            }
        }
        let kept_out = self.everyday && scope.replicated;
        if !found.is_empty() && !kept_out {
            let (a, number, b) = self.choices.pick(&found).clone();
            let (inner_text, inner) = self.table(number, false);
            let b = inner
                .columns
                .iter()
                .find(|column| column.name == b)
                .expect("a column")
                .clone();
            let alias = self.alias("l");
            let mut items = Vec::new();
            let mut columns = Vec::new();
            for _ in 0..1 + self.choices.below(2) {
                if let Some(column) = self.column(&inner, |column| column.domain.is_empty()) {
                    let name = self.name();
                    items.push(format!("{} as {name}", column.sql));
                    let mut column = column.renamed(&alias, &name);
                    column.domain.clear();
                    columns.push(column);
                }
            }
            let mut conditions = vec![format!("{} = {}", b.sql, a.qualified)];
            if self.choices.chance(40) {
                conditions.push(self.predicate(&inner, 0));
            }
            let order = inner.order_of_rows().unwrap_or_default();
            let limit = 1 + self.choices.below(3);
            let word = *self
                .choices
                .pick(&["cross join lateral", "left join lateral"]);
            let on = if word.starts_with("left") {
                " on true"
            } else {
                ""
            };
            *text = format!(
                "{text} {word} (select {} from {inner_text}{} order by {order} limit {limit}) {alias}{on}",
                items.join(", "),
                all_of(&conditions)
            );
            scope.columns.extend(columns);
            // One row of the outer may have several here.
            if limit > 1 {
                scope.key = None;
            }
        }
        self.choices.end(begin);
    }
}
