//! How much work planning is, in parts of trees that walks come to.

use std::sync::Arc;

use super::bind::tests::{catalog, topology};
use super::thread::{LOOKS, with_deep_stack};
use super::*;

/// The columns of a statement, all of them numbers.
fn numbers(sql: &str) -> Result<Vec<Column>> {
    let width = check::width(&sql::parse(sql)?.body).unwrap_or_default();
    Ok(vec![Column::new("x", "int8".parse()?); width])
}

/// The work of planning a statement of which servers say that it has one column.
fn work(sql: &str) -> usize {
    with_deep_stack(|| {
        let columns = vec![Column::new("x", "int8".parse()?)];
        let answers = Answers::new(Arc::default(), move |need| match need {
            Need::Describe(_) => Ok(Answer::Columns(columns.clone())),
            Need::Evaluate(sql) | Need::Shards { sql, .. } => Err(Error::fault(sql)),
        });
        plan(&Question {
            sql,
            topology: &topology(),
            catalog: &catalog(),
            merge: MergeMode::Auto,
            system_catalogs: false,
            decimals: false,
            types: &TypeOptions::default(),
            columns: &numbers(sql)?,
            answers: &answers,
        })?;
        Ok(LOOKS.get())
    })
    .unwrap()
}

fn joined(count: usize, with: &str, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(with)
}

#[test]
fn twice_the_text_is_twice_the_work() {
    let statements: [(&str, &dyn Fn(usize) -> String); 5] = [
        ("arms that the shards answer", &|n| {
            joined(n, " union all ", |i| {
                format!("select k from t where k < {i}")
            })
        }),
        ("arms that have to be combined", &|n| {
            joined(n, " union all ", |i| {
                format!("select count(*) from t where k < {i}")
            })
        }),
        ("alternatives", &|n| {
            format!(
                "select count(*) from t where {}",
                joined(n, " or ", |i| format!("k = {i}"))
            )
        }),
        ("columns", &|n| {
            format!(
                "select {} from t",
                joined(n, ", ", |_| "count(*)".to_owned())
            )
        }),
        ("common table expressions side by side", &|n| {
            format!(
                "with {} select {}",
                joined(n, ", ", |i| format!(
                    "c{i} as (select count(*) as n from t where k > {i})"
                )),
                joined(n, " + ", |i| format!("(select n from c{i})"))
            )
        }),
    ];
    for (what, statement) in statements {
        let (once, twice) = (work(&statement(100)), work(&statement(200)));
        assert!(twice < once * 5 / 2, "{what}: {once}, then {twice}");
    }
}

#[test]
fn what_is_nested_is_looked_at_once_on_every_level() {
    let chain = |n: usize| {
        let links = joined(n, ", ", |i| format!("c{} as (select k from c{i})", i + 1));
        format!("with c0 as (select k from t), {links} select count(*) from c{n}")
    };
    let (once, twice) = (work(&chain(40)), work(&chain(80)));
    assert!(twice < once * 9 / 2, "{once}, then {twice}");
}
