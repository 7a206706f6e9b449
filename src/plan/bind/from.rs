//! Items of FROM: tables, queries and functions.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr,
    TableAlias, TableFactor, VisitMut,
};

use super::Binder;
use super::scope::{Columns, Visible};
use crate::catalog::{Function, Origin, RelationKind};
use crate::error::Result;
use crate::plan::build::FAN_OUT_HINT;
use crate::plan::from_item::{FromColumn, Source};
use crate::plan::naming::{folded, ident, parts, table_alias};
use crate::plan::{build, refused, sql};

impl Binder<'_> {
    /// An item of FROM; its columns.
    pub(super) fn item(&mut self, factor: &mut TableFactor) -> Result<Columns> {
        if let TableFactor::NestedJoin {
            table_with_joins,
            alias: None,
        } = factor
        {
            return self.join_tree(table_with_joins);
        }
        let index = self.scope().relations.len();
        self.factor(factor)?;
        Ok(self.scope().relations.get(index).and_then(Visible::all))
    }

    fn factor(&mut self, factor: &mut TableFactor) -> Result<()> {
        match factor {
            TableFactor::Table { name, .. } | TableFactor::Function { name, .. }
                if is_only(name) =>
            {
                self.only(factor)?;
                self.factor(factor)
            }
            TableFactor::Table {
                sample: Some(_), ..
            }
            | TableFactor::Derived {
                sample: Some(_), ..
            } => Err(refused(
                "TABLESAMPLE, which chooses rows by where they lie in one database".to_owned(),
                "filter by a condition on the rows instead, such as a hash of the key",
            )),
            TableFactor::Table { args: None, .. } => self.named(factor),
            TableFactor::Derived {
                lateral,
                subquery,
                alias,
                ..
            } => self.subquery(*lateral, subquery, alias),
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => match alias {
                None => self.join_tree(table_with_joins).map(|_| ()),
                Some(alias) => {
                    let select = build::select(
                        vec![SelectItem::Wildcard(Default::default())],
                        vec![(**table_with_joins).clone()],
                    );
                    *factor = TableFactor::Derived {
                        lateral: false,
                        subquery: Box::new(build::query(SetExpr::Select(Box::new(select)))),
                        alias: Some(alias.clone()),
                        sample: None,
                    };
                    self.factor(factor)
                }
            },
            TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. }
                if sql::is_rows_from(name)
                    && alias.as_ref().is_none_or(|it| it.columns.is_empty()) =>
            {
                Err(refused(
                    "ROWS FROM, of whose columns only the server knows the names".to_owned(),
                    "list the columns: ROWS FROM (..) AS f(a, b)",
                ))
            }
            TableFactor::Table {
                alias,
                args: Some(args),
                name,
                with_ordinality,
                ..
            } => {
                let outputs = self.outputs(name, &args.args, *with_ordinality);
                self.call(&last(name), outputs, &mut args.args, alias)
            }
            // The parser's own for LATERAL.
            TableFactor::Function {
                alias,
                args,
                name,
                with_ordinality,
                ..
            } => {
                let outputs = self.outputs(name, args, *with_ordinality);
                self.call(&last(name), outputs, args, alias)
            }
            TableFactor::UNNEST {
                alias, array_exprs, ..
            } => self.call("unnest", Outputs::default(), array_exprs, alias),
            TableFactor::TableFunction { alias, expr } => {
                self.call("function", Outputs::default(), expr, alias)
            }
            _ => Err(refused("this item of FROM".to_owned(), FAN_OUT_HINT)),
        }
    }

    /// `ONLY (t)`, which the parser takes for a call: the same as `t` where nothing inherits from it.
    fn only(&self, factor: &mut TableFactor) -> Result<()> {
        let name = match factor {
            TableFactor::Table {
                args: Some(args), ..
            } => only_argument(&args.args),
            _ => None,
        };
        let found = name.as_ref().and_then(|name| match &parts(name)[..] {
            [table] if self.ctes.iter().all(|cte| cte.name != *table) => {
                self.catalog.relation(None, table)
            }
            [schema, table] => self.catalog.relation(Some(schema), table),
            _ => None,
        });
        let is_alone =
            found.is_some_and(|found| found.kind == RelationKind::Table && !found.has_children);
        match (factor, name) {
            (TableFactor::Table { name, args, .. }, Some(table)) if is_alone => {
                *name = table;
                *args = None;
                Ok(())
            }
            _ => Err(refused(
                "FROM ONLY, which leaves out the rows of tables that inherit from a table"
                    .to_owned(),
                "name the tables that inherit one by one, with UNION ALL; --fan-out \
                 (Cluster::fan_out) sends the text to every shard as it is",
            )),
        }
    }

    /// A name: of a common table expression, or of a relation of the catalog.
    fn named(&mut self, factor: &mut TableFactor) -> Result<()> {
        let TableFactor::Table { name, alias, .. } = factor else {
            return Ok(());
        };
        let names = parts(name);
        let (schema, table) = match &names[..] {
            [table] => (None, table.clone()),
            [schema, table] => (Some(schema.clone()), table.clone()),
            [_, schema, table] => (Some(schema.clone()), table.clone()),
            _ => return Err(refused(format!("the table name {name}"), FAN_OUT_HINT)),
        };
        let called = alias.as_ref().map_or(table.clone(), |a| folded(&a.name));
        let cte = match schema {
            None => self
                .ctes
                .iter()
                .rev()
                .find(|cte| cte.name == table)
                .cloned(),
            Some(_) => None,
        };
        match cte {
            Some(cte) => self.cte(&cte, factor, &called),
            None => self.table(schema.as_deref(), &table, factor, &called),
        }
    }

    /// A query, which sees what is before it only if it is `LATERAL`.
    fn subquery(
        &mut self,
        lateral: bool,
        query: &mut Query,
        alias: &mut Option<TableAlias>,
    ) -> Result<()> {
        let own = match lateral {
            true => None,
            false => self.scopes.pop(),
        };
        let output = self.query(query);
        self.scopes.extend(own);
        let output = output?;
        let (name, columns) = match alias {
            Some(alias) => (
                folded(&alias.name),
                alias.columns.iter().map(|c| c.name.clone()).collect(),
            ),
            // PostgreSQL 16 lets it have none.
            None => ("unnamed".to_owned(), Vec::new()),
        };
        let output = Self::renamed(output, &columns);
        let unique = self.add(&name, None, output, Source::Derived);
        match alias {
            Some(alias) => alias.name = ident(&unique),
            None => *alias = Some(table_alias(&unique)),
        }
        Ok(())
    }

    /// A function, whose alias is its own name if it has none.
    fn call<T: VisitMut>(
        &mut self,
        name: &str,
        outputs: Outputs,
        args: &mut T,
        alias: &mut Option<TableAlias>,
    ) -> Result<()> {
        self.expression(args)?;
        self.function(alias.get_or_insert_with(|| table_alias(name)), &outputs)
    }

    /// A function's columns are known where the alias lists them, or if they have names of their own
    /// in PostgreSQL's catalog. One that returns single values without a name has a column of its
    /// alias's name.
    fn function(&mut self, alias: &mut TableAlias, outputs: &Outputs) -> Result<()> {
        let name = folded(&alias.name);
        let own = |name: &String| FromColumn {
            name: name.clone(),
            ..FromColumn::unknown()
        };
        let columns = match alias.columns.is_empty() {
            true if outputs.columns.is_empty() => None,
            true => Some(outputs.columns.iter().map(own).collect()),
            false => Some(
                alias
                    .columns
                    .iter()
                    .map(|column| FromColumn {
                        name: folded(&column.name),
                        ..FromColumn::unknown()
                    })
                    .collect(),
            ),
        };
        let unique = self.add(&name, None, columns, Source::Function);
        if unique != name && alias.columns.is_empty() {
            // The alias is also the name of the column of a function that returns single values.
            return Err(refused(
                format!("two functions in FROM that are both called {name:?}"),
                "give each an alias of its own, with a list of its columns",
            ));
        }
        alias.name = ident(&unique);
        if let ([value], false, true) = (
            &outputs.columns[..],
            outputs.are_rows,
            alias.columns.is_empty(),
        ) {
            self.values.insert(unique, value.clone());
        }
        Ok(())
    }

    /// What a function gives in FROM. Of functions of one name, what all give that may be meant.
    fn outputs(&self, name: &ObjectName, args: &[FunctionArg], with_ordinality: bool) -> Outputs {
        let names = parts(name);
        let (schema, name) = match &names[..] {
            [name] => (None, name),
            [schema, name] => (Some(&**schema), name),
            _ => return Outputs::default(),
        };
        let found = self.catalog.functions(schema, name);
        let mut own = found.filter(|function| {
            function.origin != Origin::System && function.takes(Some(args.len()))
        });
        let first = own.next().and_then(|function| function.code.as_ref());
        let mut outputs = match first {
            Some(code) => {
                let is_same = |other: &Function| {
                    let other = other.code.as_ref();
                    other.is_some_and(|other| other.outputs == code.outputs)
                };
                match own.all(is_same) {
                    true => Outputs {
                        columns: code.outputs.clone(),
                        are_rows: code.gives_rows,
                    },
                    false => Outputs::default(),
                }
            }
            None if schema.is_none_or(|schema| schema == "pg_catalog") => Outputs {
                columns: system_outputs(name)
                    .iter()
                    .map(|it| (*it).to_owned())
                    .collect(),
                are_rows: false,
            },
            None => Outputs::default(),
        };
        if with_ordinality && !outputs.columns.is_empty() {
            outputs.columns.push("ordinality".to_owned());
        }
        outputs
    }
}

/// What a function gives in FROM.
#[derive(Default)]
struct Outputs {
    /// The columns that have names of their own, whatever its alias.
    columns: Vec<String>,
    /// Whether it is rows, even of one column.
    are_rows: bool,
}

/// The names that the columns of a function of PostgreSQL have (`src/include/catalog/pg_proc.dat`).
fn system_outputs(name: &str) -> &'static [&'static str] {
    match name {
        "jsonb_array_elements"
        | "jsonb_array_elements_text"
        | "json_array_elements"
        | "json_array_elements_text" => &["value"],
        "jsonb_each" | "jsonb_each_text" | "json_each" | "json_each_text" => &["key", "value"],
        "ts_stat" => &["word", "ndoc", "nentry"],
        "ts_parse" => &["tokid", "token"],
        "ts_token_type" => &["tokid", "alias", "description"],
        _ => &[],
    }
}

/// The table of `ONLY (t)`.
fn only_argument(args: &[FunctionArg]) -> Option<ObjectName> {
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] = args else {
        return None;
    };
    let parts = match expr {
        Expr::Identifier(name) => vec![name.clone()],
        Expr::CompoundIdentifier(names) => names.clone(),
        _ => return None,
    };
    Some(ObjectName(
        parts.into_iter().map(ObjectNamePart::Identifier).collect(),
    ))
}

/// Whether a name is the keyword `ONLY`, which the parser takes for a table or a function. `t` in
/// `FROM ONLY t` is an alias then, and rows of another table would be read.
fn is_only(name: &ObjectName) -> bool {
    matches!(&name.0[..], [ObjectNamePart::Identifier(name)]
        if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("only"))
}

fn last(name: &ObjectName) -> String {
    parts(name).pop().unwrap_or_default()
}
