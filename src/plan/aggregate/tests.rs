//! The shapes of the rules, and that what they give is PostgreSQL's answer.

#[cfg(feature = "local")]
mod oracle;

use datafusion::sql::sqlparser::ast::{Expr, Ident};

use tokio_postgres::types::Type;

use super::*;
use crate::types::TypeModifiers;

/// `CAST` of the parser's text back to a call, with what its arguments are.
fn split_text(sql: &str, types: &[&str]) -> Result<Split, String> {
    let Expr::Function(call) = template::parse(sql)? else {
        return Err(format!("{sql} is no function"));
    };
    let types: Vec<PgType> = types
        .iter()
        .map(|name| match *name {
            // Without an Arrow type of its own.
            "money" => PgType::from_catalog(&Type::MONEY, -1, 0, &TypeModifiers::default()),
            name => name.parse().unwrap(),
        })
        .collect();
    let columns = |names: &[Ident]| {
        let price = names.last()?.value == "price";
        price.then(|| "numeric(15,2)".to_owned())
    };
    split(&call, &types, &columns)
}

/// The partials, a bar, and the combining expression over `a`, `b`, ...
fn shape(sql: &str, types: &[&str]) -> String {
    let split = match split_text(sql, types) {
        Ok(split) => split,
        Err(reason) => return reason,
    };
    let partials: Vec<_> = split
        .partials
        .iter()
        .map(|partial| {
            let kind = match partial.kind {
                PartialKind::Aggregate => "",
                PartialKind::Distinct => "DISTINCT ",
            };
            format!("{kind}{}", partial.expr)
        })
        .collect();
    let names: Vec<_> = (b'a'..=b'z')
        .map(|letter| Expr::Identifier(Ident::new(char::from(letter).to_string())))
        .collect();
    format!("{} | {}", partials.join(", "), split.combine(&names))
}

#[test]
fn plain_aggregates() {
    assert_eq!(
        shape("count(*)", &[]),
        "count(*) | coalesce(sum(a), 0)::INT8"
    );
    assert_eq!(
        shape("COUNT(t.*) FILTER (WHERE x > 1)", &["int4"]),
        "count(t.*) FILTER (WHERE x > 1) | coalesce(sum(a), 0)::INT8"
    );
    assert_eq!(
        shape("pg_catalog.sum(x + 1 ORDER BY y)", &["int4"]),
        "sum(x + 1) | sum(a)::INT8"
    );
    assert_eq!(
        shape("sum(price)", &["numeric"]),
        "sum(price)::NUMERIC(25,2) | sum(a)"
    );
    assert_eq!(shape("sum(x)", &["numeric(3,1)"]), "sum(x) | sum(a)");
    assert_eq!(
        shape("sum(x - y)", &["float4"]),
        "sum((x - y)::FLOAT8) | sum(a)::FLOAT4"
    );
    assert_eq!(
        shape("avg(x)", &["interval"]),
        "count(x), sum(x) | (sum(b) / sum(a)::FLOAT8)"
    );
    assert_eq!(shape("max(DISTINCT x)", &["text"]), "max(x) | max(a)");
}
