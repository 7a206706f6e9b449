//! Which columns of an answer its order can be seen by.

use datafusion::sql::sqlparser::ast::{
    Expr, OrderByKind, Query, SelectItem, SetExpr, Value, ValueWithSpan,
};

use super::sql;
use super::thread::on_deep_stack;

/// The `ORDER BY` of a statement, as far as the columns of its answer show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OrderKeys {
    /// How many keys the statement orders by.
    pub(crate) count: usize,
    /// The first of them, as columns of the answer by index: all up to one that is no such column.
    pub(crate) columns: Vec<usize>,
}

/// The keys by which a statement whose answer has these columns is ordered; none if it cannot be
/// read.
pub(crate) async fn order_keys(text: String, names: Vec<String>) -> OrderKeys {
    let keys = on_deep_stack(move || {
        let mut query = sql::parse(&text)?;
        sql::unwrap_parentheses(&mut query);
        Ok(of_query(&query, &names))
    });
    keys.await.unwrap_or_default()
}

fn of_query(query: &Query, names: &[String]) -> OrderKeys {
    let Some(order_by) = &query.order_by else {
        return OrderKeys::default();
    };
    let OrderByKind::Expressions(keys) = &order_by.kind else {
        return OrderKeys::default();
    };
    OrderKeys {
        count: keys.len(),
        columns: keys
            .iter()
            .map_while(|key| column(&key.expr, &query.body, names))
            .collect(),
    }
}

/// The column of the answer that a key is: by number, by name, or as the same expression.
fn column(key: &Expr, body: &SetExpr, names: &[String]) -> Option<usize> {
    if let Expr::Value(ValueWithSpan {
        value: Value::Number(number, _),
        ..
    }) = key
    {
        let number: usize = number.parse().ok()?;
        return number.checked_sub(1).filter(|index| *index < names.len());
    }
    if let Expr::Identifier(name) = key {
        let name = sql::identifier_name(name);
        if let Some(index) = names.iter().position(|column| **column == *name) {
            return Some(index);
        }
    }
    let SetExpr::Select(select) = body else {
        return None;
    };
    // Behind a wildcard it is not known here which column an item is.
    let items = select.projection.iter().map_while(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    items.into_iter().position(|item| item == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_columns_by_number_name_or_expression() {
        let names = ["a", "Sum", "c"].map(str::to_owned);
        for (text, count, columns) in [
            ("SELECT a, b, c FROM t", 0, &[][..]),
            ("SELECT a, b, c FROM t ORDER BY 2, 1 DESC", 2, &[1, 0]),
            (
                "SELECT a, b AS \"Sum\", c FROM t ORDER BY \"Sum\", A",
                2,
                &[1, 0],
            ),
            (
                "SELECT a, b, lower(x) AS c FROM t ORDER BY lower(x), z, a",
                3,
                &[2],
            ),
            ("SELECT t.*, c FROM t ORDER BY t.c", 1, &[]),
            ("SELECT * FROM t ORDER BY c", 1, &[2]),
            ("SELECT 1 WHERE", 0, &[]),
        ] {
            let keys = order_keys(text.to_owned(), names.to_vec()).await;
            assert_eq!((keys.count, &*keys.columns), (count, columns), "{text}");
        }
    }
}
