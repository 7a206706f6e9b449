//! Which types hold an instant, and what type an expression has.

use std::collections::{BTreeSet, HashMap};

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, GroupByExpr, Query, SelectItem, SetExpr, TableFactor, Visit,
};

use crate::catalog::Catalog;
use crate::plan::facts::types;
use crate::plan::from_item::{FromItem, Source};
use crate::plan::names::Names;
use crate::plan::naming::{as_column, ident};
use crate::plan::rewrite::{self, Walk, bare};
use crate::plan::{Answers, Stop, build, functions, instant, locality};

/// What a type is to a literal beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A date or time, or ranges or arrays of such: its name, without modifiers.
    Instant(String),
    /// No time.
    Other,
    /// One or the other: nobody can tell.
    Untold,
    /// Several, of which some are times.
    Several,
}

impl Kind {
    /// That of what stands beside both.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Untold, _) | (_, Self::Untold) => Self::Untold,
            _ => Self::Several,
        }
    }
}

/// The types of the expressions of a bound statement.
pub(super) struct Types<'a> {
    pub(super) relations: &'a HashMap<String, FromItem>,
    pub(super) catalog: &'a Catalog,
    pub(super) answers: &'a Answers,
    /// The statement, in which the relations are.
    pub(super) whole: &'a Query,
}

impl Types<'_> {
    /// The type of an expression that is no literal without a type.
    pub(super) fn of(&self, expr: &Expr) -> Result<Kind, Stop> {
        let expr = bare(expr);
        let known = match expr {
            Expr::Value(_) | Expr::Interval(_) => Some(Kind::Other),
            Expr::Cast { data_type, .. } => of_name(&data_type.to_string()),
            Expr::TypedString(typed) => of_name(&typed.data_type.to_string()),
            _ => self.column_type(expr).and_then(of_name),
        };
        match known {
            Some(kind) => Ok(kind),
            None => self.described(expr),
        }
    }

    fn column_type(&self, expr: &Expr) -> Option<&str> {
        let (alias, name) = as_column(expr)?;
        let columns = self.relations.get(&alias)?.columns.as_ref()?;
        let column = columns.iter().find(|column| column.name == name)?;
        column.type_name.as_deref()
    }

    /// The type as a server describes it. One of which nothing is known holds no instant: only dates,
    /// times and what is made of them read words such as `today`, and composite types and types of users
    /// are not looked into.
    fn described(&self, expr: &Expr) -> Result<Kind, Stop> {
        let Some(sql) = self.description(expr) else {
            return Ok(Kind::Untold);
        };
        let columns = self.answers.described(sql)?;
        let Some(column) = columns.first() else {
            return Ok(Kind::Untold);
        };
        Ok(match of_name(column.pg_type.name()) {
            Some(kind) => kind,
            // A row, or what nothing is known of.
            None if column.pg_type.may_hold_time() => Kind::Untold,
            None => Kind::Other,
        })
    }

    /// The type that a cast gives, unless it is one of PostgreSQL's own, of which the literal itself
    /// tells.
    pub(super) fn of_users(&self, cast: &Expr, data_type: &DataType) -> Result<Kind, Stop> {
        match of_name(&data_type.to_string()) {
            Some(_) => Ok(Kind::Other),
            None => self.described(cast),
        }
    }

    /// A statement whose one column is the expression; `None` where its relations cannot be named
    /// elsewhere.
    fn description(&self, expr: &Expr) -> Option<String> {
        let names = Names::beside_queries(expr);
        let mut alone = names.alone().iter();
        if !alone.all(|name| self.relations.contains_key(name)) {
            return None;
        }
        let from = self
            .outside(expr)?
            .into_iter()
            .map(|alias| self.factor(&alias).map(build::item))
            .collect::<Option<Vec<_>>>()?;
        let mut select = build::select(vec![SelectItem::UnnamedExpr(expr.clone())], from);
        if let Some(keys) = self.beside_aggregates(expr) {
            select.group_by = GroupByExpr::Expressions(keys, Vec::new());
        }
        Some(build::query(SetExpr::Select(Box::new(select))).to_string())
    }

    /// The item of FROM that has an alias, if it can stand alone.
    fn factor(&self, alias: &str) -> Option<TableFactor> {
        let mut found = None;
        rewrite::factors(self.whole, |factor| {
            if found.is_none() && locality::factor_alias(factor).as_deref() == Some(alias) {
                found = Some(factor.clone());
            }
        });
        let found = found?;
        match &found {
            TableFactor::Table { args: None, .. } => {
                matches!(self.relations.get(alias)?.source, Source::Table(_)).then_some(found)
            }
            _ => self.outside(&found)?.is_empty().then_some(found),
        }
    }

    /// The relations that are named inside, but are not there; `None` if a common table expression
    /// is.
    fn outside<T: Visit>(&self, tree: &T) -> Option<BTreeSet<String>> {
        let names = Names::of(tree);
        let has_cte = names.inside().iter().any(|alias| {
            let relation = self.relations.get(alias);
            relation.is_some_and(|relation| matches!(relation.source, Source::Cte))
        });
        match has_cte {
            true => None,
            false => Some(names.free(self.relations).into_iter().collect()),
        }
    }

    /// The columns that an expression with aggregates names beside them; `None`: it has none.
    fn beside_aggregates(&self, expr: &Expr) -> Option<Vec<Expr>> {
        let mut found = false;
        let mut columns = BTreeSet::new();
        let _ = rewrite::top_down(&mut expr.clone(), |part| {
            if let Expr::Function(function) = part
                && functions::is_aggregate(function, self.catalog)
            {
                found = true;
                return Ok(Walk::Done);
            }
            columns.extend(as_column(part));
            Ok(match rewrite::subquery(part) {
                Some(_) => Walk::Done,
                None => Walk::Into,
            })
        });
        found.then(|| {
            let columns = columns.into_iter();
            columns
                .map(|(alias, name)| Expr::CompoundIdentifier(vec![ident(&alias), ident(&name)]))
                .collect()
        })
    }
}

/// What the name of a type says; `None`: it may be a domain.
pub(super) fn of_name(name: &str) -> Option<Kind> {
    let mut plain = String::new();
    let mut depth = 0_usize;
    for c in name.to_ascii_lowercase().chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = plain.strip_prefix("pg_catalog.").unwrap_or(&plain);
    let element = plain.trim_end_matches("[]");
    let canonical = match element {
        "time without time zone" => "time",
        "time with time zone" => "timetz",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        other => other,
    };
    let is_instant =
        instant::Type::named(canonical).is_some() || instant::RANGES.contains(&canonical);
    match is_instant {
        // All dimensions are of one type.
        true if element.len() < plain.len() => Some(Kind::Instant(format!("{canonical}[]"))),
        true => Some(Kind::Instant(canonical.to_owned())),
        false => types::is_known(canonical).then_some(Kind::Other),
    }
}

/// The type of a name that [`of_name`] has given.
pub(super) fn data_type(name: &str) -> DataType {
    if let Some(element) = name.strip_suffix("[]") {
        let element = Box::new(data_type(element));
        return DataType::Array(ArrayElemTypeDef::SquareBracket(element, None));
    }
    match instant::Type::named(name) {
        Some(known) => known.with(None),
        None => DataType::Custom(vec![ident(name)].into(), Vec::new()),
    }
}
