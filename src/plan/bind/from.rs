//! Items of FROM: tables, queries and functions.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr,
    TableAlias, TableAliasColumnDef, TableFactor, XmlTableColumnOption,
};

use super::Binder;
use super::outputs::Outputs;
use super::scope::{Columns, Visible};
use crate::catalog::RelationKind;
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
            TableFactor::Table {
                alias,
                args: Some(args),
                name,
                with_ordinality,
                ..
            } => self.call(name, &mut args.args, *with_ordinality, alias),
            // The parser's own for LATERAL.
            TableFactor::Function {
                alias,
                args,
                name,
                with_ordinality,
                ..
            } => self.call(name, args, *with_ordinality, alias),
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_ordinality,
                ..
            } => {
                self.expression(array_exprs)?;
                let mut outputs = self.outputs_of_unnest(&array_exprs.iter().collect::<Vec<_>>());
                if *with_ordinality {
                    outputs.add("ordinality");
                }
                let alias = alias.get_or_insert_with(|| table_alias("unnest"));
                self.function(alias, &outputs)
            }
            TableFactor::XmlTable {
                namespaces,
                row_expression,
                passing,
                columns,
                alias,
            } => {
                for namespace in namespaces {
                    self.expression(&mut namespace.uri)?;
                }
                self.expression(row_expression)?;
                for argument in &mut passing.arguments {
                    self.expression(&mut argument.expr)?;
                }
                for column in columns.iter_mut() {
                    if let XmlTableColumnOption::NamedInfo { path, default, .. } =
                        &mut column.option
                    {
                        self.expression(path)?;
                        self.expression(default)?;
                    }
                }
                let names: Vec<_> = columns.iter().map(|it| folded(&it.name)).collect();
                let outputs = Outputs::named(names.iter().map(String::as_str), true);
                let alias = alias.get_or_insert_with(|| table_alias("xmltable"));
                self.function(alias, &outputs)
            }
            TableFactor::TableFunction { alias, expr } => {
                self.expression(expr)?;
                let alias = alias.get_or_insert_with(|| table_alias("function"));
                self.function(alias, &Outputs::default())
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
            // PostgreSQL has read it, so the first is the name of its own database; the others have
            // names of their own.
            [_, schema, table] => {
                name.0.remove(0);
                (Some(schema.clone()), table.clone())
            }
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

    /// A function, whose alias is its own name if it has none, or several side by side.
    fn call(
        &mut self,
        name: &ObjectName,
        args: &mut Vec<FunctionArg>,
        with_ordinality: bool,
        alias: &mut Option<TableAlias>,
    ) -> Result<()> {
        self.expression(args)?;
        let is_rows_from = sql::is_rows_from(name);
        let (own_name, mut outputs) = match is_rows_from {
            true => self.outputs_of_rows(args),
            false => (last(name), self.outputs(name, args)),
        };
        let lists_columns = alias.as_ref().is_some_and(|it| !it.columns.is_empty());
        if is_rows_from && !lists_columns && outputs.called("").is_none() {
            return Err(refused(
                "ROWS FROM, of whose columns only the server knows the names".to_owned(),
                "list the columns: ROWS FROM (..) AS f(a, b)",
            ));
        }
        let alias = alias.get_or_insert_with(|| table_alias(&own_name));
        if with_ordinality {
            outputs.add("ordinality");
        }
        self.function(alias, &outputs)
    }

    /// A function's columns are known where the alias lists them, or by PostgreSQL's catalog: if they have
    /// names of their own, or if it returns single values, whose column has the alias's name.
    fn function(&mut self, alias: &mut TableAlias, outputs: &Outputs) -> Result<()> {
        let name = folded(&alias.name);
        let own = |name: String| FromColumn {
            name,
            ..FromColumn::unknown()
        };
        let columns = match alias.columns.is_empty() {
            true => {
                let columns = outputs.called(&name);
                columns.map(|columns| columns.into_iter().map(own).collect())
            }
            // Those that it does not list keep their names.
            false => {
                let listed = alias.columns.iter().map(|column| folded(&column.name));
                let others = outputs.called(&name).unwrap_or_default();
                let others = others.into_iter().skip(alias.columns.len());
                Some(listed.chain(others).map(own).collect())
            }
        };
        let unique = self.add(&name, None, columns, Source::Function);
        if alias.columns.is_empty() {
            if let Some(value) = outputs.value() {
                self.values.insert(unique.clone(), value.to_owned());
            }
            // The alias may be the name of a column, too, which must not change with it.
            match outputs.called(&name) {
                Some(columns) if outputs.follow_alias() => {
                    alias.columns = columns.iter().map(|name| column_alias(name)).collect();
                }
                None if unique != name => {
                    return Err(refused(
                        format!("two functions in FROM that are both called {name:?}"),
                        "give each an alias of its own, with a list of its columns",
                    ));
                }
                _ => {}
            }
        }
        alias.name = ident(&unique);
        Ok(())
    }
}

fn column_alias(name: &str) -> TableAliasColumnDef {
    TableAliasColumnDef {
        name: ident(name),
        data_type: None,
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
