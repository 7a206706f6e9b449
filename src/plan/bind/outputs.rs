//! What functions give in FROM.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, FunctionArg, ObjectName, Value};

use super::Binder;
use crate::catalog::{Function, Origin};
use crate::plan::facts::types;
use crate::plan::naming::{as_column, parts};
use crate::plan::rewrite::bare;
use crate::plan::{functions, sql};

/// What a function gives in FROM, as far as PostgreSQL's catalog tells.
#[derive(Default)]
pub(super) struct Outputs {
    /// The names of its columns; `None` is that of its alias. Empty where they are not known.
    columns: Vec<Option<String>>,
    /// Whether it is rows, even of one column.
    are_rows: bool,
}

impl Outputs {
    /// Values without a name, whose column is called like the alias.
    fn values() -> Self {
        Self {
            columns: vec![None],
            are_rows: false,
        }
    }

    /// Columns that have names of their own, whatever the alias.
    pub(super) fn named<'n>(names: impl IntoIterator<Item = &'n str>, are_rows: bool) -> Self {
        let names = names.into_iter();
        Self {
            columns: names.map(|name| Some(name.to_owned())).collect(),
            are_rows,
        }
    }

    /// One column more, if the others are known.
    pub(super) fn add(&mut self, name: &str) {
        if !self.columns.is_empty() {
            self.columns.push(Some(name.to_owned()));
        }
    }

    /// All columns by the names that they have beside this alias; `None` where they are not known.
    pub(super) fn called(&self, alias: &str) -> Option<Vec<String>> {
        let names = self.columns.iter();
        let names = names.map(|name| name.clone().unwrap_or_else(|| alias.to_owned()));
        (!self.columns.is_empty()).then(|| names.collect())
    }

    /// Whether a column is called like the alias.
    pub(super) fn follow_alias(&self) -> bool {
        self.columns.iter().any(Option::is_none)
    }

    /// The name of the column that an alias stands for, where it has another one.
    pub(super) fn value(&self) -> Option<&str> {
        match &self.columns[..] {
            [Some(value)] if !self.are_rows => Some(value),
            _ => None,
        }
    }
}

impl Binder<'_> {
    /// What a function gives. Of functions of one name, what all give that may be meant.
    pub(super) fn outputs(&self, name: &ObjectName, args: &[FunctionArg]) -> Outputs {
        let names = parts(name);
        let (schema, name) = match &names[..] {
            [name] => (None, name),
            [schema, name] => (Some(&**schema), name),
            _ => return Outputs::default(),
        };
        let found = self.catalog.functions(schema, name);
        let found: Vec<&Function> = found.filter(|it| it.takes(Some(args.len()))).collect();
        if !found.is_empty() && found.iter().all(|function| function.gives_values) {
            return Outputs::values();
        }
        let mut own = found.iter().filter(|it| it.origin != Origin::System);
        let first = own.next().and_then(|function| function.code.as_ref());
        match first {
            Some(code) => {
                let is_same = |other: &&Function| {
                    let other = other.code.as_ref();
                    other.is_some_and(|other| other.outputs == code.outputs)
                };
                let names = code.outputs.iter().map(String::as_str);
                match own.all(is_same) {
                    true => Outputs::named(names, code.gives_rows),
                    false => Outputs::default(),
                }
            }
            None if schema.is_some_and(|schema| schema != "pg_catalog") => Outputs::default(),
            None if name == "unnest" => {
                let arrays = args.iter().filter_map(functions::expression);
                self.outputs_of_unnest(&arrays.collect::<Vec<_>>())
            }
            None => Outputs::named(of_system(name).iter().copied(), false),
        }
    }

    /// What functions give that stand side by side, and the name that they have together: that of the first
    /// (`addRangeTableEntryForFunction` in `src/backend/parser/parse_relation.c`). Beside others, a column
    /// without a name is called like its function.
    pub(super) fn outputs_of_rows(&self, calls: &[FunctionArg]) -> (String, Outputs) {
        let mut first = None;
        let mut together = Outputs::default();
        for call in calls {
            let (function, list) = match functions::expression(call) {
                Some(Expr::Function(function)) => (function, None),
                Some(Expr::Named { expr, name }) => match &**expr {
                    Expr::Function(function) => (function, Some(name)),
                    _ => return Default::default(),
                },
                _ => return Default::default(),
            };
            let own = match list {
                Some(list) => {
                    let names = sql::listed_columns(list).unwrap_or_default();
                    Outputs::named(names.iter().map(String::as_str), true)
                }
                None => self.outputs(&function.name, functions::arguments(function)),
            };
            let name = functions::name(function);
            let Some(columns) = own.called(&name) else {
                together.columns.clear();
                return (first.unwrap_or(name), together);
            };
            together.are_rows = own.are_rows || calls.len() > 1;
            together.columns.extend(match calls.len() {
                1 => own.columns,
                _ => columns.into_iter().map(Some).collect(),
            });
            first.get_or_insert(name);
        }
        (first.unwrap_or_default(), together)
    }

    /// PostgreSQL's own `unnest`. Several arrays have columns that are all called `unnest`.
    pub(super) fn outputs_of_unnest(&self, arrays: &[&Expr]) -> Outputs {
        match arrays {
            [array] if self.has_values(array) => Outputs::values(),
            [vector] if self.own_type(vector).as_deref() == Some("tsvector") => {
                Outputs::named(["lexeme", "positions", "weights"], true)
            }
            _ => Outputs::default(),
        }
    }

    /// Whether an argument is known to be an array whose elements are no rows, of which `unnest` would give
    /// the columns.
    fn has_values(&self, array: &Expr) -> bool {
        match bare(array) {
            Expr::Array(_) => self.is_of_values(array),
            Expr::BinaryOp {
                left,
                op: BinaryOperator::StringConcat,
                right,
            } => [left, right].iter().any(|it| self.is_of_values(it)),
            Expr::Function(function) => {
                let name = functions::system_name(function, self.catalog);
                name.is_some_and(|name| OF_ARRAYS.contains(&&*name))
            }
            // A `tsvector` has columns, too.
            array => self
                .own_type(array)
                .is_some_and(|name| name.ends_with("[]")),
        }
    }

    /// Whether an expression is known to be of one of PostgreSQL's own types, or an array of such.
    fn is_of_values(&self, expr: &Expr) -> bool {
        match bare(expr) {
            Expr::Value(value) => !matches!(value.value, Value::Null | Value::Placeholder(_)),
            // All elements are of one type.
            Expr::Array(array) => array.elem.iter().any(|element| self.is_of_values(element)),
            expr => self.own_type(expr).is_some(),
        }
    }

    /// The type of a cast or column, if it is known, and PostgreSQL's own or an array of such.
    fn own_type(&self, expr: &Expr) -> Option<String> {
        let name = match bare(expr) {
            Expr::Cast { data_type, .. } => data_type.to_string().to_ascii_lowercase(),
            Expr::TypedString(typed) => typed.data_type.to_string().to_ascii_lowercase(),
            expr => {
                let (alias, name) = as_column(expr)?;
                let columns = self.relations.get(&alias)?.columns.as_ref()?;
                let column = columns.iter().find(|it| it.name == name)?;
                column.type_name.clone()?
            }
        };
        types::is_known(name.trim_end_matches("[]")).then_some(name)
    }
}

/// Functions that give arrays of texts.
const OF_ARRAYS: [&str; 5] = [
    "parse_ident",
    "regexp_match",
    "regexp_split_to_array",
    "string_to_array",
    "tsvector_to_array",
];

/// The names that the columns of a function of PostgreSQL have (`src/include/catalog/pg_proc.dat`).
fn of_system(name: &str) -> &'static [&'static str] {
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
