//! Whether two expressions are written differently only: in a way that PostgreSQL's parser forgets.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, ObjectName, ObjectNamePart, VisitMut,
    visit_expressions_mut,
};

/// An expression, or anything that holds expressions, without what PostgreSQL's parser forgets: parentheses, the case of names of
/// functions, `CAST(x AS t)` for `x::t`, and second names of types. Equal forms mean the same.
pub(super) fn normal<T: VisitMut + Clone>(tree: &T) -> T {
    let mut tree = tree.clone();
    // The parts of an expression come before it.
    let _ = visit_expressions_mut(&mut tree, |part| {
        while let Expr::Nested(inner) = part {
            *part = std::mem::replace(&mut **inner, Expr::Identifier("".into()));
        }
        match part {
            Expr::Function(function) => fold(&mut function.name),
            Expr::Cast {
                kind: kind @ (CastKind::Cast | CastKind::DoubleColon),
                data_type,
                ..
            } => {
                *kind = CastKind::DoubleColon;
                first_name(data_type);
            }
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    tree
}

/// Writes the names as PostgreSQL reads them.
fn fold(name: &mut ObjectName) {
    for part in &mut name.0 {
        if let ObjectNamePart::Identifier(ident) = part
            && ident.quote_style.take().is_none()
        {
            ident.value.make_ascii_lowercase();
        }
    }
}

/// Gives a type the first of its names (`src/backend/parser/gram.y`, `SimpleTypename`).
fn first_name(data_type: &mut DataType) {
    *data_type = match data_type {
        DataType::Int(None) | DataType::Int4(None) => DataType::Integer(None),
        DataType::Int8(None) => DataType::BigInt(None),
        DataType::Int2(None) => DataType::SmallInt(None),
        DataType::Bool => DataType::Boolean,
        DataType::Float8 => DataType::DoublePrecision,
        DataType::Float4 => DataType::Real,
        DataType::Float(ExactNumberInfo::None) => DataType::DoublePrecision,
        DataType::CharacterVarying(length) => DataType::Varchar(*length),
        DataType::Character(length) => DataType::Char(*length),
        DataType::Decimal(digits) | DataType::Dec(digits) => DataType::Numeric(*digits),
        DataType::Custom(name, _) => {
            fold(name);
            return;
        }
        _ => return,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sql;

    fn same(left: &Expr, right: &Expr) -> bool {
        normal(left) == normal(right)
    }

    fn expr(text: &str) -> Expr {
        use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr};
        let query = sql::parse(&format!("SELECT {text}")).unwrap();
        let SetExpr::Select(select) = *query.body else {
            panic!("{text}");
        };
        match &select.projection[0] {
            SelectItem::UnnamedExpr(expr) => expr.clone(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_the_parser_forgets_makes_no_difference() {
        for (left, right) in [
            ("LOWER(t)", "lower(t)"),
            ("Date_Trunc('day', ts)", "\"date_trunc\"('day', ts)"),
            ("a::text", "CAST(a AS text)"),
            ("a::int", "cast((a) AS integer)"),
            ("a::varchar(3)", "cast(a as character varying(3))"),
            ("(a) + b", "a + b"),
            ("a + b * 2", "a + (b * 2)"),
            ("((f(A, b)))", "F(A, (b))"),
            ("x::FOO", "x::foo"),
        ] {
            assert!(same(&expr(left), &expr(right)), "{left} and {right}");
        }
    }

    #[test]
    fn what_means_something_else_differs() {
        for (left, right) in [
            ("(a + b) * 2", "a + b * 2"),
            ("\"Lower\"(t)", "lower(t)"),
            ("f('A')", "f('a')"),
            ("a::text", "a::varchar"),
            ("a::varchar(3)", "a::varchar(4)"),
            ("x::\"FOO\"", "x::foo"),
            ("a - (b - c)", "a - b - c"),
            ("f(DISTINCT a)", "f(a)"),
        ] {
            assert!(!same(&expr(left), &expr(right)), "{left} and {right}");
        }
    }
}
