//! Well-typed expressions, predicates, aggregates and windows.

use super::generator::{Generator, Scope};
use super::tables::{Expr, Home, TABLES, Ty, columns_as_x};

impl Generator {
    /// A column of the scope of which `which` holds.
    pub(super) fn column(&mut self, scope: &Scope, which: impl Fn(&Expr) -> bool) -> Option<Expr> {
        let columns: Vec<_> = scope
            .columns
            .iter()
            .filter(|column| which(column))
            .collect();
        match columns.is_empty() {
            true => None,
            false => Some((*self.choices.pick(&columns)).clone()),
        }
    }

    /// A column, or what is made of one.
    pub(super) fn scalar(&mut self, scope: &Scope, which: impl Fn(&Expr) -> bool) -> Option<Expr> {
        let begin = self.choices.begin();
        let column = self.column(scope, which)?;
        let made = match self.choices.chance(30) {
            true => self.derive(scope, column),
            false => column,
        };
        self.choices.end(begin);
        Some(made)
    }

    pub(super) fn literal(&mut self, like: &Expr) -> String {
        (*self.choices.pick(like.samples())).to_owned()
    }

    /// An expression over the column, of its type or another.
    fn derive(&mut self, scope: &Scope, of: Expr) -> Expr {
        if of.open || of.approx || of.wild {
            return of;
        }
        let sql = &of.sql;
        let is_plain_text = of.ty == Ty::Text && of.tag != "nocase";
        let (text, ty, tag) = match of.ty {
            Ty::Int => match self.choices.below(9) {
                0 => (format!("{sql} + 1"), Ty::Int, ""),
                1 => (format!("abs({sql})"), Ty::Int, ""),
                2 => (format!("{sql} % 5"), Ty::Int, ""),
                3 => (format!("coalesce({sql}, 0)"), Ty::Int, ""),
                4 => (format!("{sql} / 10"), Ty::Int, ""),
                5 => (format!("{sql} * 0.5"), Ty::Num, ""),
                6 => (
                    format!(
                        "case when {sql} > 5 then 'high' when {sql} > 0 then 'low' else 'none' end"
                    ),
                    Ty::Text,
                    "",
                ),
                7 => (format!("nullif({sql}, 1)"), Ty::Int, ""),
                _ => (format!("-{sql}"), Ty::Int, ""),
            },
            Ty::Num => match self.choices.below(7) {
                0 => (format!("{sql} * 2"), Ty::Num, ""),
                1 => (format!("round({sql}, 1)"), Ty::Num, ""),
                2 => (format!("coalesce({sql}, 0)"), Ty::Num, ""),
                3 => (format!("{sql} / 3"), Ty::Num, ""),
                4 => (format!("greatest({sql}, 10)"), Ty::Num, ""),
                5 => (format!("({sql} > 100)"), Ty::Bool, ""),
                _ => match self.column(scope, |other| {
                    other.ty == Ty::Num && !other.open && !other.wild && !other.approx
                }) {
                    Some(other) => (format!("{sql} * (1 - {})", other.sql), Ty::Num, ""),
                    None => (format!("-{sql}"), Ty::Num, ""),
                },
            },
            Ty::Float => match self.choices.below(3) {
                0 => (format!("{sql} * 2"), Ty::Float, "float8"),
                1 => (format!("coalesce({sql}, -1)"), Ty::Float, of.tag.as_str()),
                _ => (format!("abs({sql})"), Ty::Float, of.tag.as_str()),
            },
            Ty::Text if is_plain_text => match self.choices.below(9) {
                0 => (format!("upper({sql})"), Ty::Text, of.tag.as_str()),
                1 => (format!("lower({sql})"), Ty::Text, of.tag.as_str()),
                2 => (format!("length({sql})"), Ty::Int, ""),
                3 => (format!("substr({sql}, 1, 2)"), Ty::Text, of.tag.as_str()),
                4 => (
                    format!("coalesce({sql}, 'none')"),
                    Ty::Text,
                    of.tag.as_str(),
                ),
                5 => (format!("{sql} || '!'"), Ty::Text, of.tag.as_str()),
                6 => (format!("left({sql}, 1)"), Ty::Text, of.tag.as_str()),
                7 => (
                    format!("substring({sql} from 2 for 3)"),
                    Ty::Text,
                    of.tag.as_str(),
                ),
                _ => (format!("slug({sql})"), Ty::Text, of.tag.as_str()),
            },
            Ty::Text => (format!("lower({sql})"), Ty::Text, of.tag.as_str()),
            Ty::Bp => match self.choices.below(2) {
                0 => (format!("{sql}::text"), Ty::Text, "bp"),
                _ => (format!("coalesce({sql}, 'x')"), Ty::Bp, ""),
            },
            Ty::Bool => match self.choices.below(2) {
                0 => (format!("coalesce({sql}, false)"), Ty::Bool, ""),
                _ => (format!("case when {sql} then 1 else 0 end"), Ty::Int, ""),
            },
            Ty::Date => match self.choices.below(6) {
                0 => (format!("date_trunc('month', {sql})::date"), Ty::Date, ""),
                1 => (format!("extract(month from {sql})"), Ty::Num, ""),
                2 => (format!("to_char({sql}, 'YYYY-MM')"), Ty::Text, ""),
                3 => (format!("{sql} + 7"), Ty::Date, ""),
                4 => (format!("extract(isodow from {sql})::int4"), Ty::Int, ""),
                _ => (format!("{sql} - date '2024-01-01'"), Ty::Int, ""),
            },
            Ty::Ts => match self.choices.below(3) {
                0 => (format!("date_trunc('day', {sql})"), Ty::Ts, ""),
                1 => (format!("{sql}::date"), Ty::Date, ""),
                _ => (format!("{sql} + interval '1 day'"), Ty::Ts, ""),
            },
            Ty::Tstz => match self.choices.below(4) {
                0 => (format!("date_trunc('day', {sql})"), Ty::Tstz, ""),
                1 => (format!("{sql}::date"), Ty::Date, ""),
                2 => (format!("extract(hour from {sql})"), Ty::Num, ""),
                _ => (format!("{sql} at time zone 'UTC'"), Ty::Ts, ""),
            },
            Ty::Mood => (format!("{sql}::text"), Ty::Text, ""),
            Ty::Interval => (format!("{sql} + interval '1 hour'"), Ty::Interval, ""),
            Ty::Cit | Ty::Jsonb | Ty::Other => return of,
        };
        let mut made = Expr::new(text, ty, tag);
        made.name = of.name.clone();
        // Numbers of several scales, and text whose collation stays.
        made.fuzzy = ty == of.ty && (of.fuzzy || ty == Ty::Num);
        made
    }

    /// A condition over columns of the scope.
    pub(super) fn predicate(&mut self, scope: &Scope, depth: usize) -> String {
        let begin = self.choices.begin();
        let sub = if depth > 0 { 5 } else { 0 };
        let text = match self
            .choices
            .weighted(&[60, 8, 8, 4, sub, sub, sub, sub / 2])
        {
            1 => {
                let (a, b) = (self.predicate(scope, 0), self.predicate(scope, 0));
                format!("({a} or {b})")
            }
            2 => {
                let (a, b) = (self.predicate(scope, 0), self.predicate(scope, 0));
                format!("{a} and {b}")
            }
            3 => format!("not ({})", self.predicate(scope, 0)),
            4 => self.in_subquery(scope, depth),
            5 => self.exists(scope, depth),
            6 => self.against_scalar(scope, depth),
            7 => self
                .correlated_scalar(scope)
                .map_or("true".into(), |scalar| {
                    let literal = self.literal(&scalar);
                    format!("{} > {literal}", scalar.sql)
                }),
            _ => self.comparison(scope),
        };
        self.choices.end(begin);
        text
    }

    /// Without subqueries.
    fn comparison(&mut self, scope: &Scope) -> String {
        let usable =
            |column: &Expr| column.is_exact() && !matches!(column.ty, Ty::Other | Ty::Jsonb);
        let Some(of) = self.scalar(scope, usable) else {
            return "true".into();
        };
        let sql = &of.sql;
        let literal = self.literal(&of);
        if of.ty == Ty::Bool {
            return match self.choices.below(4) {
                0 => sql.clone(),
                1 => format!("not {sql}"),
                2 => format!("{sql} is not true"),
                _ => format!("{sql} is null"),
            };
        }
        let likes = of.ty == Ty::Text && of.tag != "nocase" && !of.open;
        match self
            .choices
            .weighted(&[25, 15, 8, 8, 6, 6, 5, if likes { 8 } else { 0 }, 5, 3, 4])
        {
            0 => format!("{sql} > {literal}"),
            1 => format!("{sql} = {literal}"),
            2 => format!("{sql} is not null"),
            3 => {
                let other = self.literal(&of);
                format!("{sql} between {literal} and {other}")
            }
            4 => {
                let other = self.literal(&of);
                format!("{sql} in ({literal}, {other})")
            }
            5 => format!("{sql} <> {literal}"),
            6 => format!("{sql} is null"),
            7 => {
                let pattern = *self
                    .choices
                    .pick(&["'%a%'", "'note 1%'", "'_'", "'%o'", "'/%'"]);
                let word = *self.choices.pick(&["like", "not like", "ilike"]);
                format!("{sql} {word} {pattern}")
            }
            8 => match self.column(scope, |other| other.is_like(&of) && other.is_exact()) {
                Some(other) => format!("{sql} <= {}", other.sql),
                None => format!("{sql} < {literal}"),
            },
            9 => format!("{sql} is distinct from {literal}"),
            _ => {
                let other = self.literal(&of);
                match of.ty {
                    Ty::Int => format!("{sql} = any (array[{literal}, {other}])"),
                    _ => format!("{sql} not in ({literal}, {other})"),
                }
            }
        }
    }

    /// The column of another table that a column may be compared with, and the table's number.
    fn partner(&mut self, scope: &Scope, correlated: bool) -> Option<(Expr, usize, String)> {
        let mut found = Vec::new();
        for column in scope
            .columns
            .iter()
            .filter(|column| !column.domain.is_empty() && column.is_exact())
        {
            for (number, table) in TABLES.iter().enumerate() {
                if table.is_view() || table.home == Home::Global {
                    continue;
                }
                for other in &columns_as_x()[number] {
                    let same = other.domain == column.domain && other.ty == column.ty;
                    let local = table.home == Home::Replicated || other.shards && column.shards;
                    // Uncorrelated, the values can be collected first; the preserved side must
                    // be sharded for everything else to be local.
                    let often = match self.everyday {
                        true => !scope.replicated && (local || !correlated),
                        false => true,
                    };
                    if same && often {
                        found.push((column.clone(), number, other.name.clone()));
                    }
                }
            }
        }
        match found.is_empty() {
            true => None,
            false => Some(self.choices.pick(&found).clone()),
        }
    }

    fn in_subquery(&mut self, scope: &Scope, depth: usize) -> String {
        let Some((column, number, other)) = self.partner(scope, false) else {
            return self.comparison(scope);
        };
        let (from, inner) = self.table(number, true);
        let word = *self.choices.pick(&["in", "in", "not in"]);
        let inner_column = inner
            .columns
            .iter()
            .find(|column| column.name == other)
            .expect("a column")
            .clone();
        let mut conditions = Vec::new();
        if word == "not in" && self.choices.chance(70) {
            conditions.push(format!("{} is not null", inner_column.sql));
        }
        if self.choices.chance(80) {
            conditions.push(self.predicate(&inner, depth - 1));
        }
        let group = match self.choices.chance(15) {
            true => format!(" group by {} having count(*) > 1", inner_column.sql),
            false => String::new(),
        };
        format!(
            "{} {word} (select {} from {from}{}{group})",
            column.sql,
            inner_column.sql,
            all_of(&conditions)
        )
    }

    fn exists(&mut self, scope: &Scope, depth: usize) -> String {
        let Some((column, number, other)) = self.partner(scope, true) else {
            return self.comparison(scope);
        };
        let (from, inner) = self.table(number, false);
        let word = *self.choices.pick(&["exists", "not exists"]);
        let inner_column = inner
            .columns
            .iter()
            .find(|column| column.name == other)
            .expect("a column");
        let mut conditions = vec![format!("{} = {}", inner_column.qualified, column.qualified)];
        if self.choices.chance(60) {
            conditions.push(self.predicate(&inner, depth - 1));
        }
        format!("{word} (select 1 from {from}{})", all_of(&conditions))
    }

    /// A comparison with the one row of an uncorrelated subquery.
    fn against_scalar(&mut self, scope: &Scope, depth: usize) -> String {
        let numeric = |column: &Expr| {
            matches!(column.ty, Ty::Int | Ty::Num)
                && column.is_exact()
                && !column.wild
                && !column.open
        };
        let Some(of) = self.column(scope, numeric) else {
            return self.comparison(scope);
        };
        let number = self.base_table();
        let (from, inner) = self.table(number, true);
        let Some(column) = self.column(&inner, |column| column.ty == of.ty && !column.wild) else {
            return self.comparison(scope);
        };
        let aggregate = *self.choices.pick(&["avg", "max", "min"]);
        let filter = match self.choices.chance(50) {
            true => format!(" where {}", self.predicate(&inner, depth - 1)),
            false => String::new(),
        };
        let operator = *self.choices.pick(&[">", "<=", "<>"]);
        format!(
            "{} {operator} (select {aggregate}({}) from {from}{filter})",
            of.sql, column.sql
        )
    }

    /// A subquery of one row for each row of the scope.
    pub(super) fn correlated_scalar(&mut self, scope: &Scope) -> Option<Expr> {
        let (column, number, other) = self.partner(scope, true)?;
        let (from, inner) = self.table(number, false);
        let inner_column = inner
            .columns
            .iter()
            .find(|column| column.name == other)?
            .clone();
        let condition = format!("{} = {}", inner_column.qualified, column.qualified);
        if inner_column.primary && self.choices.chance(50) {
            let value = self.column(&inner, |column| column.groups_visibly())?;
            let sql = format!("(select {} from {from} where {condition})", value.sql);
            return Some(Expr {
                sql: sql.clone(),
                qualified: sql,
                domain: String::new(),
                shards: false,
                primary: false,
                table: String::new(),
                ..value
            });
        }
        let aggregate = match self.choices.below(3) {
            0 => "count(*)".to_owned(),
            1 => format!(
                "max({})",
                self.column(&inner, |column| column.ty == Ty::Int)?.sql
            ),
            _ => format!(
                "sum({})",
                self.column(&inner, |column| column.ty == Ty::Int)?.sql
            ),
        };
        let extra = match self.choices.chance(30) {
            true => format!(" and {}", self.predicate(&inner, 0)),
            false => String::new(),
        };
        let mut made = Expr::new(
            format!("(select {aggregate} from {from} where {condition}{extra})"),
            Ty::Int,
            "",
        );
        made.wild = true;
        Some(made)
    }
}

pub(super) fn all_of(conditions: &[String]) -> String {
    match conditions.is_empty() {
        true => String::new(),
        false => format!(" where {}", conditions.join(" and ")),
    }
}
