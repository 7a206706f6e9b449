//! Holds the source to its layers: what a module may import from the rest of the crate.
//!
//! Reads every `crate::` path in `src/`, outside comments and unit tests, and compares its first
//! segment with [`TABLE`]. To let a module import another, change the table, and say why in the
//! commit.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module and the modules it may import, besides itself and [`EVERYWHERE`]. Data flows down.
const TABLE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("stream", &["missing", "progress"]),
    ("missing", &[]),
    ("config", &[]),
    ("types", &[]),
    ("progress", &[]),
    ("quote", &[]),
    ("statement", &[]),
    ("runtime", &[]),
    ("text", &["types"]),
    ("catalog", &["config", "connect", "types", "quote"]),
    (
        "plan",
        &[
            "catalog",
            "config",
            "types",
            "quote",
            "statement",
            "progress",
        ],
    ),
    ("connect", &["config", "quote"]),
    ("decode", &["types"]),
    (
        "scan",
        &[
            "connect",
            "types",
            "decode",
            "progress",
            "quote",
            "statement",
        ],
    ),
    ("merge", &["plan", "text", "types"]),
    // Of the decoder, only how COPY frames rows that are passed on as they came.
    (
        "relation",
        &["plan", "scan", "types", "text", "quote", "decode"],
    ),
    ("export", &["config", "missing", "text", "types"]),
    ("query", PIPELINE),
    ("cluster", PIPELINE),
    ("tables", &["catalog", "config", "cluster"]),
    ("provider", PIPELINE),
    (
        "inspect",
        &[
            "catalog", "config", "connect", "types", "quote", "scan", "cluster",
        ],
    ),
    (
        "blocking",
        &[
            "config", "export", "plan", "query", "cluster", "tables", "runtime",
        ],
    ),
    ("cursor", &["text", "blocking", "query"]),
    // For fuzz targets only.
    (
        "fuzzing",
        &[
            "config",
            "connect",
            "export",
            "plan",
            "query",
            "statement",
            "types",
        ],
    ),
];

/// What every module may import, but for `error`, which imports nothing.
const EVERYWHERE: [&str; 2] = ["error", "stream"];

/// What the modules that wire the stages may import.
const PIPELINE: &[&str] = &[
    "catalog",
    "config",
    "types",
    "missing",
    "progress",
    "statement",
    "quote",
    "text",
    "plan",
    "connect",
    "decode",
    "scan",
    "merge",
    "relation",
    "export",
    "query",
    "cluster",
];

/// What lib.rs exports at the root, and the module that it is in.
const ROOT: [(&str, &str); 6] = [
    ("Error", "error"),
    ("ErrorKind", "error"),
    ("Phase", "error"),
    ("Result", "error"),
    ("SqlOrigin", "error"),
    ("QueryStream", "stream"),
];

#[test]
fn modules_import_only_what_lies_above_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    assert!(files.len() > 3, "no source in {}", src.display());
    let mut faults = Vec::new();
    for path in files {
        let name = path
            .strip_prefix(&src)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let text = fs::read_to_string(&path).unwrap();
        faults.extend(
            check(&name, &text)
                .into_iter()
                .map(|fault| format!("src/{name}: {fault}")),
        );
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// What is wrong with one file, named by its path below `src/`.
fn check(name: &str, text: &str) -> Vec<String> {
    let code = without_comments_and_tests(text);
    let mut faults = Vec::new();
    if code.contains("#[path") {
        faults.push("#[path] would hide a module from this test".to_owned());
    }
    let segments: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
    let module = segments[0];
    if module == "lib" || segments.contains(&"tests") {
        return faults;
    }
    let Some((_, allowed)) = TABLE.iter().find(|(row, _)| *row == module) else {
        faults.push(format!(
            "module {module:?} is not in TABLE of tests/integration/layering.rs: add it with what it may import"
        ));
        return faults;
    };
    // `super::` out of the module: at the top level of a file, where no inline module is left first.
    let depth = segments.iter().filter(|segment| **segment != "mod").count();
    let escape = format!("use {}", "super::".repeat(depth));
    let escapes = code.lines().filter(|line| {
        line.starts_with(&escape) || line.starts_with("pub") && line.contains(&escape)
    });
    faults.extend(escapes.map(|line| format!("`{line}` leaves the module; write `use crate::`")));

    for used in crate_segments(&code) {
        let target = match ROOT.iter().find(|(item, _)| *item == used) {
            Some((_, module)) => module,
            None => used.as_str(),
        };
        let everywhere = module != "error" && EVERYWHERE.contains(&target);
        if target == module || everywhere || allowed.contains(&target) {
            continue;
        }
        if TABLE.iter().any(|(row, _)| *row == target) {
            faults.push(format!("{module} may not import {target}"));
        } else {
            faults.push(format!(
                "crate::{used} is no module of TABLE; import it from its module"
            ));
        }
    }
    faults
}

/// The first segments of all `crate::` paths, those of `crate::{a::x, b}` too.
fn crate_segments(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, matched) in code.match_indices("crate::") {
        // Not the end of a longer name, such as `my_crate::`.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + matched.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_segments(group)),
            None => found.extend(identifier(rest)),
        }
    }
    found
}

/// The identifiers that begin an element of a use group, whose `{` is already read.
fn group_segments(group: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut depth = 1;
    let mut begins = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' => begins = depth == 1,
            c if c.is_whitespace() => {}
            _ if begins => {
                found.extend(identifier(&group[at..]));
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

fn identifier(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The code up to the unit tests at its foot, without line comments. Unit tests may import what
/// they like.
fn without_comments_and_tests(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "))
        .unwrap_or(lines.len());
    lines[..end]
        .iter()
        // Not the `//` of a URL in a string.
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| line.split(" // ").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The program is held to the library's public API by the compiler; the throw-away servers are what
/// the library's own tests stand on, so they may not stand on it.
#[test]
fn the_local_servers_know_nothing_of_the_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/local");
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    assert!(files.len() > 3, "no source in {}", root.display());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("merganser::"), "{}", path.display());
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("\nmerganser."), "{manifest}");
}

/// SQL that the planner makes has to be read with the limits and the dialect of `plan/sql`: another
/// reading of it would be another plan.
#[test]
fn one_place_of_the_planner_knows_the_parser() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    assert!(files.len() > 3, "no source in {}", src.display());
    let mut found = BTreeSet::new();
    for path in files {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
        let code = without_comments_and_tests(&fs::read_to_string(&path).unwrap());
        for word in [
            "PostgreSqlDialect",
            "GenericDialect",
            "Parser::new",
            "try_with_sql",
        ] {
            if code.contains(word) {
                found.insert(format!("{name}: {word}"));
            }
        }
    }
    let expected = [
        "sql/dialect.rs: PostgreSqlDialect",
        "sql/mod.rs: Parser::new",
        "sql/mod.rs: try_with_sql",
    ];
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(
        found, expected,
        "read SQL with plan::sql, which returns a Result"
    );
}

#[test]
fn the_table_speaks_only_of_its_own_rows() {
    for (module, allowed) in TABLE {
        for target in *allowed {
            assert!(
                TABLE.iter().any(|(row, _)| row == target),
                "{module}: {target}"
            );
        }
    }
}

#[test]
fn forbidden_imports_are_found_however_they_are_written() {
    for (name, code, fault) in [
        (
            "decode/frame.rs",
            "use crate::scan::x;",
            "decode may not import scan",
        ),
        (
            "decode/mod.rs",
            "use crate::{error::Error, plan};",
            "decode may not import plan",
        ),
        (
            "decode.rs",
            "fn f() { crate::merge::g() }",
            "decode may not import merge",
        ),
        (
            "decode/mod.rs",
            "use super::merge;",
            "`use super::merge;` leaves the module; write `use crate::`",
        ),
        (
            "decode/frame.rs",
            "use super::super::merge;",
            "`use super::super::merge;` leaves the module; write `use crate::`",
        ),
        (
            "error.rs",
            "use crate::stream;",
            "error may not import stream",
        ),
        (
            "types/mod.rs",
            "use crate::Cluster;",
            "crate::Cluster is no module of TABLE; import it from its module",
        ),
        (
            "new.rs",
            "",
            "module \"new\" is not in TABLE of tests/integration/layering.rs: add it with what it may import",
        ),
        (
            "lib.rs",
            "#[path = \"../plan.rs\"] mod plan;",
            "#[path] would hide a module from this test",
        ),
    ] {
        assert_eq!(check(name, code), [fault], "{name}: {code}");
    }
}

#[test]
fn allowed_imports_pass() {
    for (name, code) in [
        (
            "decode/frame.rs",
            "use super::array;\nuse crate::decode::array;\nuse crate::{Error, types::{A, B}};",
        ),
        (
            "decode/mod.rs",
            "pub(crate) fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::scan;\n}",
        ),
        ("decode/tests.rs", "use crate::scan;"),
        (
            "decode/mod.rs",
            "/// See [`crate::scan`].\nlet x = 1; // as crate::scan does",
        ),
        ("lib.rs", "pub use crate::scan::x;"),
    ] {
        assert_eq!(check(name, code), [""; 0], "{name}: {code}");
    }
}
