//! Walking over syntax trees, and replacing parts of them.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, Ident, Query, Select, SelectItem, SetExpr, TableFactor, Value, Visit,
    VisitMut, Visitor, VisitorMut, visit_expressions, visit_expressions_mut,
};

use super::thread;
use crate::error::Result;

/// What becomes of an expression that a walk has come to.
pub(super) enum Walk {
    /// Go on with its parts.
    Into,
    /// It is done: its parts are not looked at.
    Done,
}

/// Walks an expression, or anything that holds expressions, from the top down; what `step` has
/// replaced or declared [`Walk::Done`] is not walked again.
///
/// Queries inside are not entered unless `step` lets the expression that holds them pass, so a step
/// that knows [`subquery`] sees each of them once.
pub(super) fn top_down<T, F>(tree: &mut T, step: F) -> Result<()>
where
    T: VisitMut,
    F: FnMut(&mut Expr) -> Result<Walk>,
{
    let mut walker = Walker {
        step,
        taken: Vec::new(),
        error: None,
    };
    let _ = tree.visit(&mut walker);
    let Walker {
        mut taken, error, ..
    } = walker;
    let _ = visit_expressions_mut(tree, |expr| {
        if let Expr::Identifier(ident) = expr
            && let Some(index) = ident.value.strip_prefix('\0')
            && let Some(done) = index.parse().ok().and_then(|i: usize| taken.get_mut(i))
        {
            *expr = std::mem::replace(done, Expr::Identifier(Ident::new("")));
        }
        ControlFlow::<()>::Continue(())
    });
    error.map_or(Ok(()), Err)
}

/// A visitor always goes on into what it has just seen. What is done is therefore taken out
/// meanwhile, and a leaf stands in its place: no statement has a name with a zero byte.
struct Walker<F> {
    step: F,
    taken: Vec<Expr>,
    error: Option<crate::error::Error>,
}

impl<F: FnMut(&mut Expr) -> Result<Walk>> VisitorMut for Walker<F> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let step = thread::check().and_then(|()| (self.step)(expr));
        match step {
            Ok(Walk::Into) => ControlFlow::Continue(()),
            Ok(Walk::Done) => {
                let leaf = Expr::Identifier(Ident::new(format!("\0{}", self.taken.len())));
                self.taken.push(std::mem::replace(expr, leaf));
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

/// The query that an expression holds itself, not by way of its parts.
pub(super) fn subquery(expr: &mut Expr) -> Option<&mut Query> {
    match expr {
        Expr::Subquery(query)
        | Expr::Exists {
            subquery: query, ..
        }
        | Expr::InSubquery {
            subquery: query, ..
        } => Some(query),
        Expr::Function(function) => match &mut function.args {
            FunctionArguments::Subquery(query) => Some(query),
            _ => None,
        },
        _ => None,
    }
}

/// The query that an expression holds itself, to be read.
pub(super) fn held_query(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Subquery(query)
        | Expr::Exists {
            subquery: query, ..
        }
        | Expr::InSubquery {
            subquery: query, ..
        } => Some(query),
        Expr::Function(function) => match &function.args {
            FunctionArguments::Subquery(query) => Some(query),
            _ => None,
        },
        _ => None,
    }
}

/// Nobody looks at the result of a walk that was abandoned.
fn go_on() -> ControlFlow<()> {
    match thread::is_abandoned() {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// Whether any expression, those inside queries too, is what `f` looks for.
pub(super) fn any<T: Visit>(tree: &T, mut f: impl FnMut(&Expr) -> bool) -> bool {
    visit_expressions(tree, |expr| match f(expr) {
        true => ControlFlow::Break(()),
        false => go_on(),
    })
    .is_break()
}

/// A part of a tree that reading comes to.
enum Node<'a> {
    Expr(&'a Expr),
    Query(&'a Query),
    Select(&'a Select),
    Factor(&'a TableFactor),
}

/// Reads a tree from the top down.
struct Reader<F> {
    f: F,
    /// How many queries are around.
    depth: usize,
}

impl<F: FnMut(Node<'_>, usize)> Visitor for Reader<F> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        (self.f)(Node::Expr(expr), self.depth);
        go_on()
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        (self.f)(Node::Select(select), self.depth);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        (self.f)(Node::Factor(factor), self.depth);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        (self.f)(Node::Query(query), self.depth);
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn read<T: Visit>(tree: &T, f: impl FnMut(Node<'_>, usize)) {
    let _ = tree.visit(&mut Reader { f, depth: 0 });
}

/// Calls `f` for every query, the outer ones first.
pub(super) fn queries<T: Visit>(tree: &T, mut f: impl FnMut(&Query)) {
    read(tree, |node, _| {
        if let Node::Query(query) = node {
            f(query);
        }
    });
}

/// Calls `f` for the queries that expressions hold which are inside no query, each with the
/// expression that holds it: not for those of FROM.
pub(super) fn own_queries<T: Visit>(tree: &T, mut f: impl FnMut(&Expr, &Query)) {
    own_expressions(tree, |expr| {
        if let Some(query) = held_query(expr) {
            f(expr, query);
        }
    });
}

/// Calls `f` for the queries that are inside no other.
pub(super) fn outermost_queries<T: Visit>(tree: &T, mut f: impl FnMut(&Query)) {
    read(tree, |node, depth| {
        if let Node::Query(query) = node
            && depth == 0
        {
            f(query);
        }
    });
}

/// Whether there is any query.
pub(super) fn has_query<T: Visit>(tree: &T) -> bool {
    let mut found = false;
    queries(tree, |_| found = true);
    found
}

/// Calls `f` for every SELECT, those of queries inside too.
pub(super) fn selects<T: Visit>(tree: &T, mut f: impl FnMut(&Select)) {
    read(tree, |node, _| {
        if let Node::Select(select) = node {
            f(select);
        }
    });
}

/// Calls `f` for every item of FROM, those of queries inside too.
pub(super) fn factors<T: Visit>(tree: &T, mut f: impl FnMut(&TableFactor)) {
    read(tree, |node, _| {
        if let Node::Factor(factor) = node {
            f(factor);
        }
    });
}

/// Whether any item of FROM, those of queries inside too, is what `f` looks for.
pub(super) fn any_factor<T: Visit>(tree: &T, f: impl FnMut(&TableFactor) -> bool) -> bool {
    struct Search<F>(F);
    impl<F: FnMut(&TableFactor) -> bool> Visitor for Search<F> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            match (self.0)(factor) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    tree.visit(&mut Search(f)).is_break()
}

/// Calls `f` for every expression but those inside queries.
pub(super) fn own_expressions<T: Visit>(tree: &T, mut f: impl FnMut(&Expr)) {
    read(tree, |node, depth| {
        if let Node::Expr(expr) = node
            && depth == 0
        {
            f(expr);
        }
    });
}

/// The SELECTs that the set operations of a query connect, but for those in parentheses.
pub(super) fn operands(body: &SetExpr) -> Vec<&Select> {
    let mut found = Vec::new();
    let mut pending = vec![body];
    while let Some(body) = pending.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => pending.extend([&**right, &**left]),
            SetExpr::Select(select) => found.push(&**select),
            _ => {}
        }
    }
    found
}

/// The expressions that `AND` connects.
pub(super) fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    use datafusion::sql::sqlparser::ast::BinaryOperator;
    let mut found = Vec::new();
    let mut pending = vec![expr];
    while let Some(expr) = pending.pop() {
        match expr {
            Expr::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            } => {
                pending.push(right);
                pending.push(left);
            }
            Expr::Nested(inner) => match &**inner {
                Expr::BinaryOp {
                    op: BinaryOperator::And,
                    ..
                } => pending.push(inner),
                _ => found.push(expr),
            },
            _ => found.push(expr),
        }
    }
    found
}

/// The expressions, connected by `AND`.
pub(super) fn all_of(conjuncts: impl IntoIterator<Item = Expr>) -> Option<Expr> {
    use datafusion::sql::sqlparser::ast::BinaryOperator;
    conjuncts
        .into_iter()
        .map(in_and)
        .reduce(|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::And,
            right: Box::new(right),
        })
}

/// An expression that may stand beside `AND`.
fn in_and(expr: Expr) -> Expr {
    use datafusion::sql::sqlparser::ast::BinaryOperator;
    match expr {
        Expr::BinaryOp {
            op: BinaryOperator::Or | BinaryOperator::Xor,
            ..
        } => Expr::Nested(Box::new(expr)),
        other => other,
    }
}

/// The expression inside any parentheses, and behind a word that says what it is for.
pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) | Expr::Prefixed { value: inner, .. } => bare(inner),
        other => other,
    }
}

/// What is behind the word in `BETWEEN SYMMETRIC x AND ..` and `f(VARIADIC x)`; else the same.
pub(super) fn operand(expr: &Expr) -> &Expr {
    match expr {
        Expr::Prefixed { value, .. } => value,
        other => other,
    }
}

/// The same, to be changed.
pub(super) fn operand_mut(expr: &mut Expr) -> &mut Expr {
    match expr {
        Expr::Prefixed { value, .. } => value,
        other => other,
    }
}

/// Calls `f`, which may change it, for every query, the outer ones first.
pub(super) fn each_query<T: VisitMut>(tree: &mut T, f: impl FnMut(&mut Query)) {
    struct Queries<F>(F);
    impl<F: FnMut(&mut Query)> VisitorMut for Queries<F> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            (self.0)(query);
            ControlFlow::Continue(())
        }
    }
    let _ = tree.visit(&mut Queries(f));
}

/// Calls `f`, which may change it, for every item of FROM, those of queries inside too.
pub(super) fn each_factor(query: &mut Query, f: impl FnMut(&mut TableFactor)) {
    struct Factors<F>(F);
    impl<F: FnMut(&mut TableFactor)> VisitorMut for Factors<F> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            (self.0)(factor);
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Factors(f));
}

/// The text of a string literal, however it is quoted.
pub(super) fn string(value: &Value) -> Option<&str> {
    match value {
        Value::SingleQuotedString(text)
        | Value::EscapedStringLiteral(text)
        | Value::UnicodeStringLiteral(text) => Some(text),
        Value::DollarQuotedString(text) => Some(&text.value),
        _ => None,
    }
}

/// The expression of an item of the select list, unless it is a wildcard.
pub(super) fn item_expr(item: &SelectItem) -> Option<Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.clone())
        }
        _ => None,
    }
}
