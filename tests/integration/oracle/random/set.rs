//! Set operations and DISTINCT ON.

use super::expr::all_of;
use super::generator::Generator;
use super::select::{Body, Made, names, ordinals};
use super::tables::{Expr, Ty};

impl Generator {
    pub(super) fn distinct_on(&mut self, depth: usize, top: bool, begin: usize) -> Made {
        let (from, scope, conditions) = self.from(0);
        let conditions = self.conditions(&scope, depth, conditions);
        let on = self.column(&scope, |column| column.groups_visibly() && column.sorts());
        let (Some(on), Some(key)) = (on, scope.order_of_rows()) else {
            let body = self.plain(depth, top, "", 0);
            let (tail, ordered) = self.tail(&body, top);
            self.choices.end(begin);
            return Made {
                sql: format!("{}{tail}", body.sql),
                open: body.items.iter().any(|(item, _)| item.open),
                columns: body.items.into_iter().map(|(item, _)| item).collect(),
                key: body.key,
                replicated: body.replicated,
                ordered,
            };
        };
        let (mut texts, mut items) = (Vec::new(), Vec::new());
        let mut exprs = vec![on.clone()];
        exprs.extend(self.scalar(&scope, |_| true));
        for expr in exprs {
            let (text, item) = self.item(expr, top, &items);
            texts.push(text);
            items.push(item);
        }
        let key_of = vec![items[0].0.name.clone()];
        let way = *self.choices.pick(&["", " desc", " nulls first"]);
        let second = self
            .column(&scope, Expr::sorts)
            .map(|expr| format!("{}, ", expr.sql))
            .unwrap_or_default();
        self.choices.end(begin);
        Made {
            sql: format!(
                "select distinct on ({}) {} from {from}{} order by {}{way}, {second}{key}",
                on.sql,
                texts.join(", "),
                all_of(&conditions),
                on.sql
            ),
            open: items.iter().any(|(item, _)| item.open),
            columns: items.into_iter().map(|(item, _)| item).collect(),
            key: Some(key_of),
            replicated: scope.replicated,
            // With groups of equal but different values the first row is still certain.
            ordered: true,
        }
    }

    /// Two queries whose columns have the same types.
    pub(super) fn set_operation(&mut self, depth: usize) -> Body {
        let word = match self.everyday {
            true => *self.choices.pick(&["union all", "union all", "union"]),
            false => *self.choices.pick(&[
                "union all",
                "union",
                "intersect",
                "except",
                "intersect all",
                "except all",
            ]),
        };
        let (from, scope, conditions) = self.from(depth - 1);
        let conditions = self.conditions(&scope, depth - 1, conditions);
        let is_all = word == "union all";
        let mut left = Vec::new();
        for _ in 0..1 + self.choices.below(3) {
            left.extend(
                self.scalar(&scope, |column| {
                    column.groups_visibly() && column.ty != Ty::Other
                })
                .filter(|column| column.ty != Ty::Other && column.groups_visibly()),
            );
        }
        if left.is_empty() {
            left.push(Expr::new("1".into(), Ty::Int, ""));
        }
        let mut left_texts = Vec::new();
        let mut items = Vec::new();
        for expr in &left {
            let name = self.name();
            left_texts.push(format!("{} as {name}", expr.sql));
            items.push((
                Expr {
                    name,
                    domain: String::new(),
                    shards: false,
                    primary: false,
                    table: String::new(),
                    open: expr.open,
                    ..expr.clone()
                },
                true,
            ));
        }
        let (other_from, other, other_conditions) = self.from(0);
        let other_conditions = self.conditions(&other, 0, other_conditions);
        let mut right = Vec::new();
        for (expr, (item, _)) in left.iter().zip(&mut items) {
            let found = self.column(&other, |column| {
                column.is_like(expr) && column.groups_visibly()
            });
            right.push(match found {
                Some(found) => {
                    item.fuzzy |= found.fuzzy;
                    item.wild |= found.wild;
                    item.open |= found.open;
                    found.sql
                }
                None => self.typed_literal(expr),
            });
            // Columns of numerics may differ in scale.
            item.fuzzy |= item.ty == Ty::Num;
            item.open |= item.fuzzy && !is_all;
        }
        let sql = format!(
            "select {} from {from}{} {word} select {} from {other_from}{}",
            left_texts.join(", "),
            all_of(&conditions),
            right.join(", "),
            all_of(&other_conditions)
        );
        let is_set = !word.ends_with("all");
        let certain = items.iter().all(|(item, _)| !item.fuzzy || is_set);
        Body {
            sql,
            key: is_set.then(|| names(&items)),
            replicated: scope.replicated && other.replicated,
            sortable: ordinals(&items),
            total: certain.then(|| ordinals(&items)),
            open: false,
            items,
        }
    }

    fn typed_literal(&mut self, like: &Expr) -> String {
        let literal = self.literal(like);
        match (like.ty, like.tag.as_str()) {
            (Ty::Num, _) => format!("{literal}::numeric"),
            (Ty::Int, _) => literal,
            (Ty::Float, tag) => format!("{literal}::{tag}"),
            (Ty::Text, "C") => format!("{literal}::text collate \"C\""),
            (Ty::Text, "icu") => format!("{literal}::text collate \"en-x-icu\""),
            (Ty::Text, "nocase") => format!("{literal}::text collate nocase"),
            (Ty::Text, _) => format!("{literal}::text"),
            (Ty::Bp, _) => format!("{literal}::bpchar"),
            (Ty::Cit, _) => format!("{literal}::citext"),
            (Ty::Mood, _) => format!("{literal}::mood"),
            _ => literal,
        }
    }
}
