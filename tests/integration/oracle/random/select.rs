//! Queries: what is selected, grouped, ordered and limited, and set operations.

use super::expr::all_of;
use super::generator::{Generator, Scope, With};
use super::tables::{Expr, Ty};

/// A query, and what its rows are.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) sql: String,
    /// Named as the query's output is.
    pub(super) columns: Vec<Expr>,
    /// The names of columns that are unique together.
    pub(super) key: Option<Vec<String>>,
    pub(super) replicated: bool,
    /// No two rows could be exchanged.
    pub(super) ordered: bool,
    /// Which of several equal values stands for a group is open somewhere.
    pub(super) open: bool,
}

/// The words of a query between SELECT and ORDER BY.
pub(super) struct Body {
    pub(super) sql: String,
    pub(super) items: Vec<(Expr, bool)>,
    pub(super) key: Option<Vec<String>>,
    pub(super) replicated: bool,
    /// What can be sorted by, and what makes the order total.
    pub(super) sortable: Vec<String>,
    pub(super) total: Option<Vec<String>>,
    pub(super) open: bool,
}

impl Generator {
    /// The whole statement.
    pub(super) fn statement(&mut self) -> Made {
        let mut prefix = Vec::new();
        let count = self.choices.weighted(&[88, 9, 3]);
        for number in 0..count {
            let begin = self.choices.begin();
            let made = self.query(1, false);
            self.choices.end(begin);
            let name = format!("w{}x", number + 1);
            let kept = *self
                .choices
                .pick(&["", "", "materialized ", "not materialized "]);
            prefix.push(format!("{name} as {kept}({})", made.sql));
            self.with.push(With {
                name,
                columns: made.columns,
                key: made.key,
                replicated: made.replicated,
                used: false,
            });
        }
        let mut made = self.query(2, true);
        if !prefix.is_empty() {
            made.sql = format!("with {} {}", prefix.join(", "), made.sql);
        }
        made
    }

    pub(super) fn query(&mut self, depth: usize, top: bool) -> Made {
        let begin = self.choices.begin();
        let everyday = self.everyday;
        let set = if depth > 0 {
            if everyday { 5 } else { 10 }
        } else {
            0
        };
        let window = if everyday { 7 } else { 12 };
        let body = match self.choices.weighted(&[
            34,
            36,
            10,
            5,
            window,
            set,
            2,
            if everyday { 4 } else { 7 },
        ]) {
            1 => self.grouped(depth, top, false),
            2 => self.ungrouped(depth, top),
            3 => self.plain(depth, top, "distinct ", 0),
            4 => self.plain(depth, top, "", 2),
            5 => self.set_operation(depth),
            6 => return self.distinct_on(depth, top, begin),
            7 => self.grouped(depth, top, true),
            _ => self.plain(depth, top, "", 0),
        };
        let (tail, ordered) = self.tail(&body, top);
        self.choices.end(begin);
        let mut body = body;
        if !tail.is_empty() {
            // The first rows of all are no shard's.
            body.items
                .iter_mut()
                .for_each(|(item, _)| item.shards = false);
        }
        Made {
            sql: format!("{}{tail}", body.sql),
            open: body.open || body.items.iter().any(|(item, _)| item.open),
            columns: body.items.into_iter().map(|(item, _)| item).collect(),
            key: body.key,
            replicated: body.replicated,
            ordered,
        }
    }

    /// A select item with its name; derived tables need names that differ.
    pub(super) fn item(
        &mut self,
        expr: Expr,
        top: bool,
        taken: &[(Expr, bool)],
    ) -> (String, (Expr, bool)) {
        let before = expr
            .sql
            .strip_suffix(&expr.name)
            .filter(|_| !expr.name.is_empty());
        let is_column = before.is_some_and(|before| {
            before
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '.')
        });
        let is_free = taken.iter().all(|(other, _)| other.name != expr.name);
        let unnamed =
            top && self.choices.chance(25) || is_column && is_free && !self.choices.chance(30);
        match unnamed && (is_column && is_free || top) {
            true => (expr.sql.clone(), (expr, false)),
            false => {
                let name = self.name();
                (
                    format!("{} as {name}", expr.sql),
                    (Expr { name, ..expr }, true),
                )
            }
        }
    }

    pub(super) fn conditions(
        &mut self,
        scope: &Scope,
        depth: usize,
        mut from: Vec<String>,
    ) -> Vec<String> {
        for _ in 0..self.choices.weighted(&[35, 45, 20]) {
            from.push(self.predicate(scope, depth));
        }
        if self.choices.chance(4)
            && let Some(key) = self.column(scope, |column| column.shards)
        {
            let literal = self.literal(&key);
            from.push(format!("{} = {literal}", key.sql));
        }
        from
    }

    /// Rows as they are; with windows, if there are to be.
    pub(super) fn plain(
        &mut self,
        depth: usize,
        top: bool,
        distinct: &str,
        windows: usize,
    ) -> Body {
        let (from, scope, conditions) = self.from(depth);
        let conditions = self.conditions(&scope, depth, conditions);
        let mut items = Vec::new();
        let mut texts = Vec::new();
        let is_distinct = !distinct.is_empty();
        let mut exprs = Vec::new();
        // So that what is around can order and join.
        if !top && !is_distinct && self.choices.chance(70) {
            exprs.extend(
                scope
                    .columns
                    .iter()
                    .find(|column| !column.domain.is_empty())
                    .cloned(),
            );
        }
        for _ in 0..1 + self.choices.below(if is_distinct { 2 } else { 4 }) {
            exprs.extend(self.scalar(&scope, |column| !is_distinct || column.groups_visibly()));
        }
        if !is_distinct && depth > 0 && self.choices.chance(6) {
            exprs.extend(self.correlated_scalar(&scope));
        }
        if windows > 0 {
            for _ in 0..1 + self.choices.below(windows) {
                exprs.extend(self.window(&scope));
            }
        }
        if is_distinct {
            exprs.retain(Expr::groups_visibly);
        }
        if exprs.is_empty() {
            exprs.push(Expr::new("1".into(), Ty::Int, ""));
        }
        for mut expr in exprs {
            expr.open |= is_distinct && expr.fuzzy;
            let (text, item) = self.item(expr, top, &items);
            texts.push(text);
            items.push(item);
        }
        if top
            && !is_distinct
            && windows == 0
            && self.choices.chance(4)
            && scope.columns.iter().all(|column| !column.table.is_empty())
        {
            texts = vec!["*".into()];
            items.clear();
        }
        let sql = format!(
            "select {distinct}{} from {from}{}",
            texts.join(", "),
            all_of(&conditions)
        );
        let ordinals = ordinals(&items);
        let (sortable, total, key) = match is_distinct {
            true => (ordinals.clone(), Some(ordinals), Some(names(&items))),
            false => {
                let mut sortable = ordinals;
                sortable.extend(
                    self.scalar(&scope, Expr::sorts)
                        .filter(Expr::sorts)
                        .map(|expr| parenthesized(&expr)),
                );
                let key = scope.key.as_ref().and_then(|key| {
                    let name = |sql: &String| {
                        items
                            .iter()
                            .find(|(item, _)| item.sql == *sql)
                            .map(|(item, _)| item.name.clone())
                    };
                    key.iter().map(name).collect()
                });
                (sortable, scope.key, key)
            }
        };
        Body {
            sql,
            items,
            key,
            replicated: scope.replicated,
            sortable,
            total,
            open: false,
        }
    }

    fn ungrouped(&mut self, depth: usize, top: bool) -> Body {
        let (from, scope, conditions) = self.from(depth);
        let conditions = self.conditions(&scope, depth, conditions);
        let (mut texts, mut items) = (Vec::new(), Vec::new());
        for _ in 0..1 + self.choices.below(4) {
            let aggregate = self.aggregate(&scope);
            let (text, item) = self.item(aggregate, top, &items);
            texts.push(text);
            items.push(item);
        }
        let having = match self.choices.chance(5) {
            true => " having count(*) > 1".to_owned(),
            false => String::new(),
        };
        Body {
            sql: format!(
                "select {} from {from}{}{having}",
                texts.join(", "),
                all_of(&conditions)
            ),
            key: Some(Vec::new()),
            replicated: scope.replicated,
            sortable: ordinals(&items),
            total: Some(Vec::new()),
            open: false,
            items,
        }
    }

    fn grouped(&mut self, depth: usize, top: bool, sets: bool) -> Body {
        let (from, scope, conditions) = self.from(depth);
        let conditions = self.conditions(&scope, depth, conditions);
        let mut groups: Vec<Expr> = Vec::new();
        for _ in 0..1 + self.choices.weighted(&[50, 35, 15]) + usize::from(sets) {
            let key = self.choices.chance(15);
            let group = match key {
                true => self.column(&scope, |column| column.shards),
                false => self
                    .scalar(&scope, Expr::groups_visibly)
                    .filter(Expr::groups_visibly),
            };
            if let Some(group) =
                group.filter(|group| groups.iter().all(|other| other.sql != group.sql))
            {
                groups.push(group);
            }
        }
        if groups.is_empty() {
            return self.ungrouped(depth, top);
        }
        let (mut texts, mut items) = (Vec::new(), Vec::new());
        let mut by = Vec::new();
        let hides = top && self.choices.chance(8);
        for group in &groups {
            let mut shown = group.clone();
            shown.open |= shown.fuzzy;
            shown.primary = false;
            if hides && groups.len() > 1 {
                by.push(group.sql.clone());
                continue;
            }
            let (text, item) = self.item(shown, top, &items);
            texts.push(text);
            by.push(match self.choices.weighted(&[70, 15, 15]) {
                1 => items_len_ordinal(&items),
                2 if item.1 => item.0.name.clone(),
                _ => parenthesized(group),
            });
            items.push(item);
        }
        // What the primary key determines needs not be grouped by.
        if let Some(primary) = groups.iter().find(|group| group.primary && !sets) {
            let table = primary.table.clone();
            if self.choices.chance(50)
                && let Some(other) = self.column(&scope, |column| {
                    column.table == table && column.groups_visibly()
                })
            {
                let (text, item) = self.item(other, top, &items);
                texts.push(text);
                items.push(item);
            }
        }
        let key = names(&items);
        let hidden = hides && groups.len() > 1;
        let key = (!sets && !hidden).then_some(key);
        for _ in 0..self.choices.weighted(&[10, 45, 30, 15]) {
            let aggregate = self.aggregate(&scope);
            let (text, item) = self.item(aggregate, top, &items);
            texts.push(text);
            items.push(item);
        }
        let mut total: Vec<_> = groups.iter().map(parenthesized).collect();
        let mut by = by.join(", ");
        if sets {
            let grouping = format!(
                "grouping({})",
                groups
                    .iter()
                    .map(|group| group.sql.clone())
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            by = match self.choices.below(3) {
                1 => format!("cube ({})", total.join(", ")),
                2 => format!("grouping sets (({}), ({}), ())", total.join(", "), total[0]),
                _ => format!("rollup ({})", total.join(", ")),
            };
            if self.choices.chance(50) {
                let (text, item) = self.item(Expr::new(grouping.clone(), Ty::Int, ""), top, &items);
                texts.push(text);
                items.push(item);
            }
            total.insert(0, grouping);
        }
        if texts.is_empty() {
            texts.push("count(*)".into());
            items.push((Expr::new("count(*)".into(), Ty::Int, ""), false));
        }
        // A share of the whole, or a rank, over groups.
        if top && !sets && self.choices.chance(5) {
            let sql = format!("rank() over (order by count(*) desc, {})", total.join(", "));
            let (text, item) = self.item(Expr::new(sql, Ty::Int, ""), top, &items);
            texts.push(text);
            items.push(item);
        }
        let having = match self.choices.chance(15) {
            true => {
                let aggregate = match self.aggregate(&scope) {
                    other if matches!(other.ty, Ty::Int | Ty::Num) && other.is_exact() => other.sql,
                    _ => "count(*)".to_owned(),
                };
                format!(
                    " having {aggregate} > {}",
                    self.choices.pick(&["1", "2", "10", "100"])
                )
            }
            false => String::new(),
        };
        let mut sortable = ordinals(&items);
        if self.choices.chance(40) {
            let aggregate = self.aggregate(&scope);
            if aggregate.sorts() {
                sortable.push(aggregate.sql);
            }
        }
        Body {
            sql: format!(
                "select {} from {from}{} group by {by}{having}",
                texts.join(", "),
                all_of(&conditions)
            ),
            key,
            replicated: scope.replicated,
            sortable,
            total: Some(total),
            open: false,
            items,
        }
    }

    /// ORDER BY and LIMIT, and whether the order is certain.
    pub(super) fn tail(&mut self, body: &Body, top: bool) -> (String, bool) {
        let begin = self.choices.begin();
        let made = self.bare_tail(body, top);
        self.choices.end(begin);
        made
    }

    fn bare_tail(&mut self, body: &Body, top: bool) -> (String, bool) {
        if !self.choices.chance(if top { 55 } else { 8 }) || body.total.is_none() && !top {
            return (String::new(), false);
        }
        let mut order = Vec::new();
        let mut seen = Vec::new();
        if !body.sortable.is_empty() {
            for _ in 0..1 + self.choices.below(2) {
                let of = self.choices.pick(&body.sortable).clone();
                let way =
                    *self
                        .choices
                        .pick(&["", " desc", " asc", " nulls first", " desc nulls last"]);
                if !seen.contains(&of) {
                    order.push(format!("{of}{way}"));
                    seen.push(of);
                }
            }
        }
        if top && !order.is_empty() && self.choices.chance(8) {
            let rows = 1 + self.choices.below(10);
            return (
                format!(
                    " order by {} fetch first {rows} rows with ties",
                    order.join(", ")
                ),
                false,
            );
        }
        let total = match &body.total {
            Some(total) if !top || self.choices.chance(80) => {
                order.extend(total.iter().filter(|of| !seen.contains(of)).cloned());
                true
            }
            _ => false,
        };
        if order.is_empty() {
            return (String::new(), false);
        }
        let mut text = format!(" order by {}", order.join(", "));
        if total && (!top || self.choices.chance(50)) {
            text += &format!(
                " limit {}",
                self.choices.pick(&["3", "1", "10", "50", "0", "5000"])
            );
            if self.choices.chance(25) {
                text += &format!(" offset {}", self.choices.pick(&["2", "7", "100"]));
            }
        }
        (text, total)
    }
}

fn items_len_ordinal(items: &[(Expr, bool)]) -> String {
    (items.len() + 1).to_string()
}

pub(super) fn ordinals(items: &[(Expr, bool)]) -> Vec<String> {
    let sortable = items
        .iter()
        .enumerate()
        .filter(|(_, (item, _))| item.sorts());
    sortable.map(|(index, _)| (index + 1).to_string()).collect()
}

pub(super) fn names(items: &[(Expr, bool)]) -> Vec<String> {
    items.iter().map(|(item, _)| item.name.clone()).collect()
}

/// Not to be taken for an ordinal or a list.
fn parenthesized(of: &Expr) -> String {
    match of.sql.contains(' ') && !of.sql.ends_with(')') {
        true => format!("({})", of.sql),
        false => of.sql.clone(),
    }
}
