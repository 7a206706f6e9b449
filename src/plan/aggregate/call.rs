//! An aggregate call, taken apart.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, ObjectNamePart, Value, visit_expressions,
};

use super::{Columns, Partial, PartialKind, Reaggregate, Unsplit, decimal_bounds, template};
use crate::plan::facts::aggregates::{self, Rule};
use crate::types::PgType;

/// An aggregate call, taken apart.
pub(super) struct Call<'a> {
    pub(super) name: String,
    pub(super) distinct: bool,
    pub(super) ordered: bool,
    /// What the parentheses hold: `*`, `t.*`, expressions.
    pub(super) written: &'a [FunctionArg],
    /// The expressions among them.
    pub(super) args: Vec<Expr>,
    /// Their types, without modifiers, as `pg_type` has them.
    pub(super) types: Vec<&'a str>,
    pub(super) filter: Option<&'a Expr>,
    columns: &'a Columns<'a>,
    /// The functions that its partials call of themselves.
    calls: RefCell<BTreeSet<String>>,
}

impl<'a> Call<'a> {
    pub(super) fn read(
        call: &'a Function,
        arguments: &'a [PgType],
        columns: &'a Columns<'a>,
    ) -> Result<Self, Unsplit> {
        let name = match call.name.0.last() {
            Some(ObjectNamePart::Identifier(name)) if name.quote_style.is_some() => {
                name.value.clone()
            }
            Some(ObjectNamePart::Identifier(name)) => name.value.to_lowercase(),
            _ => return Err(format!("{} is no name of a function", call.name).into()),
        };
        // However it is called.
        if let Some(Rule::Whole(reason)) = aggregates::named(&name).map(|known| known.rule) {
            return Err(format!("{name} {reason}").into());
        }
        let plain = call.over.is_none()
            && call.null_treatment.is_none()
            && call.within_group.is_empty()
            && matches!(call.parameters, FunctionArguments::None)
            && !call.uses_odbc_syntax;
        let FunctionArguments::List(list) = &call.args else {
            return Err(format!("{call} is no plain aggregate call").into());
        };
        if !plain {
            return Err(format!("{call} is no plain aggregate call").into());
        }
        let ordered = match list.clauses.as_slice() {
            [] => false,
            [FunctionArgumentClause::OrderBy(_)] => true,
            _ => return Err(format!("{call} is no plain aggregate call").into()),
        };
        let mut args = Vec::new();
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(expr.clone()),
                FunctionArg::Unnamed(
                    FunctionArgExpr::Wildcard | FunctionArgExpr::QualifiedWildcard(_),
                ) => {}
                _ => return Err(format!("an argument of {call} is given by name").into()),
            }
        }
        Ok(Self {
            name,
            distinct: list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
            ordered,
            written: &list.args,
            args,
            types: arguments.iter().map(base_name).collect(),
            filter: call.filter.as_deref(),
            columns,
            calls: RefCell::default(),
        })
    }

    /// Notes the functions of a template.
    pub(super) fn calling(&self, template: &Expr) {
        self.calls.borrow_mut().extend(template::calls(template));
    }

    /// The functions that its partials call, and not its arguments.
    pub(super) fn calls(&self) -> BTreeSet<String> {
        self.calls.take()
    }

    /// The call by the types of its arguments, for people: `sum(int8)`, `count(*)`.
    pub(super) fn called(&self) -> String {
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let types = match self.types.is_empty() {
            true => "*".to_owned(),
            false => self.types.join(", "),
        };
        format!("{}({distinct}{types})", self.name)
    }

    /// A partial by its template over the arguments.
    pub(super) fn partial(
        &self,
        sql: &str,
        merge: Option<Reaggregate>,
    ) -> Result<Partial, Unsplit> {
        let mut template = template::parse(sql)?;
        self.calling(&template);
        if let Some(filter) = self.filter {
            template::with_filter(&mut template, filter);
        }
        Ok(Partial {
            expr: template::fill(&template, &self.args),
            kind: PartialKind::Aggregate,
            merge,
        })
    }

    pub(super) fn argument_type(&self) -> Result<&'a str, Unsplit> {
        match self.types.as_slice() {
            [one] if self.args.len() == 1 => Ok(one),
            _ => Err(format!("{} does not take one argument", self.name).into()),
        }
    }

    pub(super) fn bounds(&self) -> Option<(u32, u32)> {
        match self.types.as_slice() {
            ["int2"] => Some((5, 0)),
            ["int4"] => Some((10, 0)),
            ["int8"] => Some((19, 0)),
            _ => decimal_bounds(self.args.first()?, self.columns),
        }
    }

    /// An ORDER BY inside the call is of no account, unless the result depends on it.
    pub(super) fn check_order(&self, matters: bool) -> Result<(), Unsplit> {
        match self.ordered && matters {
            true => Err(format!("{} takes its values in an order", self.name).into()),
            false => Ok(()),
        }
    }
}

/// A type's name without modifiers; `int4[]` stays.
fn base_name(pg_type: &PgType) -> &str {
    let name = pg_type.name();
    match name.split_once('(') {
        Some((base, rest)) if rest.ends_with(')') => base,
        _ => name,
    }
}

pub(super) fn with_arguments(function: &Function, args: Vec<FunctionArg>) -> Function {
    Function {
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        ..function.clone()
    }
}

/// The elements of the one argument if it is a row: `(a, b)` or `ROW(a, b)`.
pub(super) fn row_elements(args: &[Expr]) -> Option<Vec<Expr>> {
    match args {
        [Expr::Tuple(elements)] => Some(elements.clone()),
        [Expr::Nested(inner)] => row_elements(std::slice::from_ref(inner)),
        [Expr::Function(function)] => match (&function.args, function.name.0.as_slice()) {
            (FunctionArguments::List(list), [ObjectNamePart::Identifier(name)])
                if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("row") =>
            {
                list.args
                    .iter()
                    .map(|arg| match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                        _ => None,
                    })
                    .collect()
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether an expression names no column.
pub(super) fn is_constant(expr: &Expr) -> bool {
    visit_expressions(expr, |part| match part {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_continue()
}

pub(super) fn placeholder(number: usize) -> Expr {
    Expr::value(Value::Placeholder(format!("${number}")))
}
