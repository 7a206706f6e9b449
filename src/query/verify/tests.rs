//! Two answers, made by hand.

use super::*;
use arrow::datatypes::Field;

fn rows(types: &[DataType], rows: &[&[&str]]) -> Rows {
    let fields = types.iter().map(|t| Field::new("c", t.clone(), true));
    let mut made = Rows::new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), 1 << 20);
    for row in rows {
        let cells = row.iter().map(|cell| match *cell {
            "NULL" => "\0n".to_owned(),
            value => format!("\0v{value}"),
        });
        made.rows.push(cells.collect());
    }
    made
}

fn check(
    types: &[DataType],
    expected: &[&[&str]],
    found: &[&[&str]],
    keys: &[usize],
) -> std::result::Result<String, String> {
    let keys = OrderKeys {
        count: keys.len(),
        columns: keys.to_vec(),
    };
    compared(rows(types, expected), rows(types, found), &keys)
        .map(|verified| verified.to_string())
        .map_err(|error| error.message().to_owned())
}

#[test]
fn rows_are_a_multiset_unless_they_are_ordered() {
    let types = [DataType::Utf8, DataType::Utf8];
    let ab: &[&[&str]] = &[&["1", "x"], &["1", "y"], &["2", "NULL"]];
    let ba: &[&[&str]] = &[&["1", "y"], &["1", "x"], &["2", "NULL"]];
    assert_eq!(check(&types, ab, ba, &[]).unwrap(), "3 rows equal");
    assert_eq!(
        check(&types, ab, ba, &[0]).unwrap(),
        "3 rows equal, in order"
    );
    let error = check(&types, ab, ba, &[0, 1]).unwrap_err();
    assert!(
        error.contains("row 1 is (\"1\", \"y\"), not (\"1\", \"x\")"),
        "{error}"
    );
    let numbers: &[&[&str]] = &[&["1.0", "x"], &["1", "y"], &["2", "NULL"]];
    let swapped: &[&[&str]] = &[&["1", "y"], &["1.0", "x"], &["2", "NULL"]];
    assert!(check(&types, numbers, swapped, &[0]).is_ok());
}

#[test]
fn what_is_missing_and_what_is_too_many_is_shown() {
    let types = [DataType::Utf8];
    let error = check(&types, &[&["a"], &["b"], &["b"]], &[&["b"], &["NULL"]], &[]);
    let error = error.unwrap_err();
    for part in [
        "2 missing, 1 too many",
        "missing: (\"a\")",
        "missing: (\"b\")",
        "too many: (NULL)",
    ] {
        assert!(error.contains(part), "{error}");
    }
    // The empty text is not NULL.
    assert!(check(&types, &[&[""]], &[&["NULL"]], &[]).is_err());
}

#[test]
fn last_digits_of_floats_may_differ_and_nothing_else() {
    let types = [DataType::Float64, DataType::Utf8];
    let near = check(
        &types,
        &[&["0.3", "a"], &["1", "a"]],
        &[&["1", "a"], &["0.30000000000000004", "a"]],
        &[],
    );
    assert_eq!(near.unwrap(), "2 rows equal up to float summation order");
    assert!(check(&types, &[&["0.3", "a"]], &[&["0.300001", "a"]], &[]).is_err());
    assert!(check(&types, &[&["NaN", "a"]], &[&["1", "a"]], &[]).is_err());
    let texts = [DataType::Utf8, DataType::Utf8];
    assert!(
        check(
            &texts,
            &[&["0.3", "a"]],
            &[&["0.30000000000000004", "a"]],
            &[]
        )
        .is_err()
    );
}
