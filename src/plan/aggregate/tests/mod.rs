//! The shapes of the rules, and that what they give is PostgreSQL's answer.

mod oracle;

use datafusion::sql::sqlparser::ast::{Expr, Ident};

use tokio_postgres::types::Type;

use super::*;
use crate::types::TypeModifiers;
use merganser_local::Server;

/// `CAST` of the parser's text back to a call, with what its arguments are.
fn split_text(sql: &str, types: &[&str]) -> Result<Split, String> {
    let Ok(Expr::Function(call)) = template::parse(sql) else {
        return Err(format!("{sql} is no function"));
    };
    let types: Vec<PgType> = types
        .iter()
        .map(|name| match *name {
            // Without an Arrow type of its own.
            "money" => PgType::from_catalog(&Type::MONEY, -1, 0, &TypeModifiers::default()),
            "record" => PgType::from_catalog(&Type::RECORD, -1, 0, &TypeModifiers::default()),
            name => name.parse().unwrap(),
        })
        .collect();
    let columns = |names: &[Ident]| {
        let price = names.last()?.value == "price";
        price.then(|| "numeric(15,2)".to_owned())
    };
    split(&call, &types, &columns).map_err(|unsplit| match unsplit {
        Unsplit::Reason(reason) => reason,
        Unsplit::Fault(error) => error.to_string(),
    })
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

#[test]
fn distinct_values_are_grouping_sets() {
    assert_eq!(
        shape("count(DISTINCT x) FILTER (WHERE y > 0)", &["int4"]),
        "DISTINCT CASE WHEN y > 0 THEN x END | count(DISTINCT a)"
    );
    assert_eq!(
        shape("corr(DISTINCT 1, x + y)", &["int4", "int4"]),
        "DISTINCT x + y | corr(DISTINCT 1, a)"
    );
    assert_eq!(
        shape("count(DISTINCT (x, 'k', y))", &["text"]),
        "DISTINCT x, DISTINCT y, DISTINCT num_nulls(x, 'k', y) >= 0 \
         | count(DISTINCT ROW(a, 'k', b)) FILTER (WHERE c)"
    );
    assert_eq!(
        shape("count(DISTINCT 1)", &["int4"]),
        "count(DISTINCT) of a constant"
    );
}

#[test]
fn filters_go_with_every_partial() {
    assert_eq!(
        shape("var_pop(x) FILTER (WHERE y OR z)", &["int2"])
            .split(" | ")
            .next(),
        Some(
            "count(x) FILTER (WHERE y OR z), sum(x) FILTER (WHERE y OR z), \
             sum((x)::NUMERIC * (x)::NUMERIC) FILTER (WHERE y OR z)::NUMERIC(20,0)"
        )
    );
    let slope = shape(
        "regr_slope(y, x) FILTER (WHERE b OR c)",
        &["float8", "float8"],
    );
    assert!(
        slope.contains("min((x)::FLOAT8) FILTER (WHERE (y) IS NOT NULL AND (b OR c))"),
        "{slope}"
    );
}

#[test]
fn what_merges_and_what_is_final() {
    let facts = |sql: &str, types: &[&str]| {
        let split = split_text(sql, types).unwrap();
        let merges: Vec<_> = split.partials.iter().map(|part| part.merge).collect();
        (merges, split.direct, split.float_order)
    };
    let sum = Some(Reaggregate::Sum);
    assert_eq!(facts("count(*)", &[]), (vec![sum], true, false));
    assert_eq!(facts("sum(x)", &["int8"]), (vec![sum], true, false));
    assert_eq!(facts("sum(price)", &["numeric"]), (vec![sum], true, false));
    assert_eq!(facts("sum(x)", &["numeric"]), (vec![None], false, false));
    assert_eq!(facts("avg(x)", &["int4"]), (vec![sum, sum], false, false));
    assert_eq!(facts("avg(x)", &["float4"]), (vec![sum, None], false, true));
    assert_eq!(
        facts("sum(DISTINCT x)", &["float8"]),
        (vec![None], false, false)
    );
    assert_eq!(facts("max(x)", &["float8"]), (vec![None], false, false));
    let max = Some(Reaggregate::Max);
    assert_eq!(facts("max(x)", &["int2"]), (vec![max], true, false));
    assert_eq!(facts("any_value(x)", &["text"]), (vec![None], false, false));
}

#[test]
fn refusals_say_why() {
    let refused: [(&str, &[&str], &str); 9] = [
        (
            "array_agg(x)",
            &["int4"],
            "array_agg gives back every value it is given",
        ),
        (
            "jsonb_agg(x)",
            &["int4"],
            "jsonb_agg gives back every value it is given",
        ),
        (
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY x)",
            &["float8"],
            "percentile_cont needs all values of a group in one place",
        ),
        (
            "sum(x ORDER BY y)",
            &["float8"],
            "sum takes its values in an order",
        ),
        (
            "any_value(x ORDER BY y)",
            &["int4"],
            "any_value takes its values in an order",
        ),
        (
            "sum(x) OVER ()",
            &["int4"],
            "sum(x) OVER () is no plain aggregate call",
        ),
        (
            "max(t)",
            &["record"],
            "max of a row without a type cannot be sent",
        ),
        (
            "count(DISTINCT t.*)",
            &["record"],
            "the values of whole rows cannot be sent",
        ),
        (
            "median(x)",
            &["int4"],
            "there is no rule that splits median",
        ),
    ];
    for (sql, types, reason) in refused {
        assert_eq!(shape(sql, types), reason);
    }
}

/// Each function of a rule may be one of users: whoever takes a call apart has to know them all.
#[test]
fn a_split_names_the_functions_that_it_is_made_of() {
    for (sql, types, expected) in [
        ("count(*)", &[][..], "coalesce count sum"),
        ("avg(user_function(x))", &["int4"], "count sum"),
        ("sum(x) FILTER (WHERE f(y))", &["float4"], "sum"),
        (
            "count(DISTINCT (x, f(y)))",
            &["record"],
            "count num_nulls row",
        ),
        (
            "stddev(x)",
            &["int4"],
            "count length round scale sqrt sum trunc",
        ),
        (
            "variance(x)",
            &["float8"],
            "abs array_agg count regr_sxx sum unnest",
        ),
        ("min(x)", &["text"], "min"),
    ] {
        let calls = split_text(sql, types).unwrap().calls;
        let calls: Vec<_> = calls.iter().map(String::as_str).collect();
        assert_eq!(calls.join(" "), expected, "{sql}");
    }
}
