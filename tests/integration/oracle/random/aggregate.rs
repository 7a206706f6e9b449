//! Aggregates and window functions.

use super::generator::{Generator, Scope};
use super::tables::{Expr, Ty};

impl Generator {
    /// An aggregate over the rows of the scope.
    pub(super) fn aggregate(&mut self, scope: &Scope) -> Expr {
        let begin = self.choices.begin();
        let (mut made, takes_filter) = self
            .bare_aggregate(scope)
            .unwrap_or_else(|| (count(), true));
        if takes_filter && self.choices.chance(15) {
            let filter = self.predicate(scope, 0);
            made.sql = format!("{} filter (where {filter})", made.sql);
            made.qualified = made.sql.clone();
        }
        self.choices.end(begin);
        made
    }

    fn bare_aggregate(&mut self, scope: &Scope) -> Option<(Expr, bool)> {
        // What cannot be put together from parts.
        let rare = if self.everyday { 0 } else { 5 };
        let numeric = |e: &Expr| {
            matches!(e.ty, Ty::Int | Ty::Num | Ty::Float)
                && !e.open
                && !(e.wild && e.ty == Ty::Float)
        };
        let exact = |e: &Expr| e.is_exact();
        let made = match self.choices.weighted(&[
            22, 20, 12, 8, 8, 6, 5, 4, 3, rare, rare, rare, rare, rare, 2,
        ]) {
            0 => count(),
            1 => {
                let of = self.scalar(scope, numeric)?;
                if !matches!(of.ty, Ty::Int | Ty::Num | Ty::Float) {
                    return None;
                }
                number(
                    format!("sum({})", of.sql),
                    if of.ty == Ty::Int { Ty::Int } else { of.ty },
                    &of,
                )
            }
            2 => {
                let of = self.scalar(scope, numeric)?;
                match of.ty {
                    Ty::Int | Ty::Num => number(format!("avg({})", of.sql), Ty::Num, &of),
                    Ty::Float => number(format!("avg({})", of.sql), Ty::Float, &of),
                    _ => return None,
                }
            }
            3 => Expr::new(
                format!("count({})", self.scalar(scope, |_| true)?.sql),
                Ty::Int,
                "",
            ),
            4 => {
                let of =
                    self.scalar(scope, |e| exact(e) && e.groups_visibly() && has_extremes(e))?;
                if !has_extremes(&of) || !of.groups_visibly() {
                    return None;
                }
                let word = *self.choices.pick(&["min", "max"]);
                let sql = format!("{word}({})", of.sql);
                // The type of an extreme of varchar is text.
                let mut made = Expr {
                    qualified: sql.clone(),
                    sql,
                    domain: String::new(),
                    shards: false,
                    primary: false,
                    table: String::new(),
                    ..of
                };
                made.open |= made.fuzzy;
                made
            }
            5 => Expr::new(
                format!("count(distinct {})", self.scalar(scope, exact)?.sql),
                Ty::Int,
                "",
            ),
            6 => {
                let of = self.column(scope, |e| e.ty == Ty::Bool)?;
                let word = *self.choices.pick(&["bool_or", "bool_and", "every"]);
                Expr::new(format!("{word}({})", of.sql), Ty::Bool, "")
            }
            7 => {
                let of = self.column(scope, |e| {
                    matches!(e.ty, Ty::Int | Ty::Num) && !e.open && !e.wild
                })?;
                let word = *self
                    .choices
                    .pick(&["stddev", "var_pop", "variance", "stddev_pop"]);
                number(format!("{word}({})", of.sql), Ty::Num, &of)
            }
            8 => {
                let of = self.column(scope, |e| {
                    matches!(e.ty, Ty::Int | Ty::Num) && !e.open && !e.fuzzy
                })?;
                let word = *self.choices.pick(&["sum", "avg"]);
                number(format!("{word}(distinct {})", of.sql), Ty::Num, &of)
            }
            9 => {
                let of = self.column(scope, |e| e.ty == Ty::Text && !e.open)?;
                let order = scope.order_of_rows()?;
                return Some((
                    Expr::new(
                        format!("string_agg({}, ',' order by {order})", of.sql),
                        Ty::Other,
                        "aggregated",
                    ),
                    true,
                ));
            }
            10 => {
                let of = self.column(scope, |e| e.groups_visibly() && e.ty != Ty::Other)?;
                let order = scope.order_of_rows()?;
                return Some((
                    Expr::new(
                        format!("array_agg({} order by {order})", of.sql),
                        Ty::Other,
                        "aggregated",
                    ),
                    true,
                ));
            }
            11 => {
                let of = self.column(scope, |e| e.sorts() && e.groups_visibly())?;
                let sql = format!("mode() within group (order by {})", of.sql);
                let mut made = Expr {
                    qualified: sql.clone(),
                    sql,
                    domain: String::new(),
                    shards: false,
                    primary: false,
                    table: String::new(),
                    ..of
                };
                made.open |= made.fuzzy;
                made
            }
            12 => {
                let of = self.column(scope, |e| {
                    matches!(e.ty, Ty::Int | Ty::Float) && !e.approx && !e.wild
                })?;
                let mut made = Expr::new(
                    format!("percentile_cont(0.5) within group (order by {})", of.sql),
                    Ty::Float,
                    "float8",
                );
                made.approx = true;
                made
            }
            13 => {
                let of = self.column(scope, |e| {
                    matches!(e.ty, Ty::Int | Ty::Date | Ty::Text) && e.groups_visibly()
                })?;
                let order = scope.order_of_rows()?;
                return Some((
                    Expr::new(
                        format!("jsonb_agg({} order by {order})", of.sql),
                        Ty::Other,
                        "aggregated",
                    ),
                    true,
                ));
            }
            _ => {
                let of = self.column(scope, |e| e.ty == Ty::Int && !e.wild)?;
                let word = *self.choices.pick(&["bit_or", "bit_and"]);
                Expr::new(format!("{word}({})", of.sql), Ty::Int, "")
            }
        };
        Some((made, true))
    }

    /// A window function over the rows of the scope.
    pub(super) fn window(&mut self, scope: &Scope) -> Option<Expr> {
        let begin = self.choices.begin();
        let made = self.bare_window(scope);
        self.choices.end(begin);
        made
    }

    fn bare_window(&mut self, scope: &Scope) -> Option<Expr> {
        let mut partition = Vec::new();
        if self.everyday && !scope.replicated {
            partition.push(self.column(scope, |e| e.shards)?.sql);
        }
        if self.choices.chance(if self.everyday { 20 } else { 70 }) {
            partition.extend(self.column(scope, |e| e.is_exact()).map(|e| e.sql));
        }
        let rows = scope.order_of_rows()?;
        let order = match self.column(scope, Expr::sorts) {
            Some(of) => {
                let way = *self
                    .choices
                    .pick(&["", " desc", " desc nulls last", " nulls first"]);
                format!("{}{way}, {rows}", of.sql)
            }
            None => rows,
        };
        let by = match partition.is_empty() {
            true => String::new(),
            false => format!("partition by {} ", partition.join(", ")),
        };
        let value = self.column(scope, |e| {
            matches!(e.ty, Ty::Int | Ty::Num) && !e.open && !e.wild
        });
        let whole = (self.choices.chance(30)).then(|| format!("over ({})", by.trim_end()));
        let over = format!("over ({by}order by {order})");
        let (sql, ty) = match (self.choices.below(8), value) {
            (1, _) => (format!("rank() {over}"), Ty::Int),
            (2, Some(value)) => (format!("lag({}) {over}", value.sql), value.ty),
            (3, Some(value)) => (
                format!("sum({}) {}", value.sql, whole.unwrap_or(over)),
                Ty::Num,
            ),
            (4, Some(value)) => (
                format!("avg({}) {}", value.sql, whole.unwrap_or(over)),
                Ty::Num,
            ),
            (5, Some(value)) => (format!("first_value({}) {over}", value.sql), value.ty),
            (6, Some(value)) => (
                format!(
                    "max({}) over ({by}order by {order} rows between 2 preceding and current row)",
                    value.sql
                ),
                value.ty,
            ),
            (7, _) => (format!("count(*) {}", whole.unwrap_or(over)), Ty::Int),
            _ => (format!("row_number() {over}"), Ty::Int),
        };
        let mut made = Expr::new(sql, ty, "");
        made.wild = true;
        made.fuzzy = ty == Ty::Num;
        // Which of the equal extremes is returned.
        made.open = ty == Ty::Num;
        Some(made)
    }
}

fn count() -> Expr {
    Expr::new("count(*)".into(), Ty::Int, "")
}

/// Large, perhaps, and rounded if it is a float.
fn number(sql: String, ty: Ty, of: &Expr) -> Expr {
    let mut made = Expr::new(sql, ty, if ty == Ty::Float { &of.tag } else { "" });
    made.approx = of.approx || of.ty == Ty::Float;
    made.fuzzy = ty == Ty::Num;
    made.wild = true;
    made
}

fn has_extremes(of: &Expr) -> bool {
    match of.ty {
        Ty::Bool | Ty::Jsonb => false,
        Ty::Other => !matches!(
            of.tag.as_str(),
            "uuid" | "bytea" | "int4range" | "aggregated"
        ),
        _ => true,
    }
}
