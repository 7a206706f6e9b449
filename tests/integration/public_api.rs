//! The public API, held against `public-api.txt`, so that a change of it is seen in review.
//!
//! rustdoc's JSON is what it is read from; `./dev api` makes that first, and with `--update` writes
//! the file anew.

use std::env;
use std::fs;
use std::path::Path;

/// Names the JSON; `./dev api` sets it.
const JSON: &str = "MERGANSER_RUSTDOC_JSON";
/// Set to write the file instead of comparing.
const UPDATE: &str = "MERGANSER_BLESS";

#[test]
fn public_api_is_the_one_in_the_file() {
    let Some(json) = env::var_os(JSON) else {
        crate::support::tell("SKIPPED: the public API is compared by `./dev api`");
        return;
    };
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .unwrap();
    let found = format!("{api}\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("public-api.txt");
    if env::var_os(UPDATE).is_some() {
        fs::write(path, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap();
    let missing = only_in(&expected, &found);
    let new = only_in(&found, &expected);
    assert!(
        missing.is_empty() && new.is_empty(),
        "the public API is not that of public-api.txt; if it is meant: `./dev api --update`\n{}{}",
        lines('-', &missing),
        lines('+', &new),
    );
}

fn only_in<'a>(a: &'a str, b: &str) -> Vec<&'a str> {
    let others: std::collections::HashSet<&str> = b.lines().collect();
    a.lines().filter(|line| !others.contains(line)).collect()
}

fn lines(mark: char, lines: &[&str]) -> String {
    lines
        .iter()
        .map(|line| format!("{mark} {line}\n"))
        .collect()
}
