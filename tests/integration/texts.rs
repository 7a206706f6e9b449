//! The text of Arrow values, and how it is compared with a server's.

use merganser::arrow::record_batch::RecordBatch;
use merganser::text::TextFormatter;

/// Every value of a batch as PostgreSQL would print it, row by row; NULL as `None`.
pub(crate) fn texts_of(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    let schema = batch.schema();
    let formatters: Vec<_> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| TextFormatter::try_new(field, column).unwrap())
        .collect();
    let text = |formatter: &TextFormatter<'_>, row| {
        let mut text = String::new();
        (!formatter.is_null(row)).then(|| {
            formatter.write(row, &mut text);
            text
        })
    };
    (0..batch.num_rows())
        .map(|row| formatters.iter().map(|f| text(f, row)).collect())
        .collect()
}

/// The text with each number in it cut at its last digit that is not zero: `1.50` to `1.5`, `2.00`
/// to `2`.
pub(crate) fn without_trailing_zeros(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let number = &rest[start..];
        let end = number
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(number.len());
        let number = &number[..end];
        out.push_str(&rest[..start]);
        out.push_str(match number.contains('.') {
            true => number.trim_end_matches('0').trim_end_matches('.'),
            false => number,
        });
        rest = &rest[start + end..];
    }
    out + rest
}

#[test]
fn zeros_behind_the_last_digit_do_not_count() {
    for (text, expected) in [
        ("1.50", "1.5"),
        ("-2.00", "-2"),
        ("100", "100"),
        ("{\"[1.10,20)\",NULL}", "{\"[1.1,20)\",NULL}"),
        ("0.000", "0"),
    ] {
        assert_eq!(without_trailing_zeros(text), expected);
    }
}
