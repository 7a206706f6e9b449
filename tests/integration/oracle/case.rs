//! The cases: SQL statements in files, with what is special about them in comments before.
//!
//! A case ends with a line whose last character is `;`. Its number counts from 1 in its file.
//! Comment lines before it say, where they begin with one of these words:
//!
//! | comment | meaning |
//! |---|---|
//! | `-- unordered` | compare as a multiset although the query orders: its order leaves ties |
//! | `-- ordered` | compare row by row although the query has no ORDER BY of its own |
//! | `-- arm: combine` | the plan must take this arm, or one of several: `union \| ordered` |
//! | `-- refused: text` | must be refused, with this text in the reason |
//! | `-- may be refused: text` | equal, or refused with this text |
//! | `-- error: 22012` | PostgreSQL's own error of this SQLSTATE |
//! | `-- representative` | which of several equal values stands for a group (1.0 or 1.00) is open |
//! | `-- subset of: SQL` | which rows is open (LIMIT without ORDER BY): as many, all from these |
//! | `-- tolerance: 1e-9` | relative difference of doubles; 1e-12 unless given |
//! | `-- trap 12`, `-- shipped 4` | the trap, or the wrong result of others, that this is about: see `testdata/traps.md` |
//!
//! All other comments are for people. Rows are compared in order if the query has an ORDER BY
//! outside of parentheses.

use std::fs;
use std::path::Path;

/// One statement, and what its answer is compared with.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// The file's name without `.sql`.
    pub(super) file: String,
    pub(super) number: usize,
    /// Where the statement begins.
    pub(super) line: usize,
    pub(super) sql: String,
    pub(super) ordered: bool,
    pub(super) arm: Option<String>,
    pub(super) expect: Expect,
    pub(super) representative: bool,
    pub(super) superset: Option<String>,
    pub(super) tolerance: f64,
    pub(super) comments: Vec<String>,
}

/// What has to come of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expect {
    /// The oracle's answer.
    Answer,
    /// A refusal that says this.
    Refused(String),
    /// Either.
    MayBeRefused(String),
    /// PostgreSQL's error with this SQLSTATE.
    Error(String),
}

impl Case {
    /// `joins:12`, as `MERGANSER_CASE` takes it.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.file, self.number)
    }

    /// Whether a comment is `-- trap 12`, alone or in a list (`-- trap 12, trap 13: why`).
    pub(super) fn names(&self, word: &str, number: usize) -> bool {
        let wanted = format!("{word} {number}");
        self.comments.iter().any(|comment| {
            comment.match_indices(&wanted).any(|(at, _)| {
                let behind = comment[at + wanted.len()..].chars().next();
                !behind.is_some_and(|c| c.is_ascii_digit())
            })
        })
    }
}

/// All cases, by file name and number.
pub(super) fn load() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/oracle");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of the cases")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "schema"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|path| {
            let file = path.file_stem().expect("a name").to_string_lossy();
            parse(&file, &fs::read_to_string(path).expect("a file of cases"))
        })
        .collect()
}

fn parse(file: &str, text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut comments = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    let mut first = 0;
    for (index, line) in text.lines().enumerate() {
        if lines.is_empty() {
            if let Some(comment) = line.strip_prefix("--") {
                comments.push(comment.trim().to_owned());
                continue;
            }
            if line.trim().is_empty() {
                // A comment that a blank line follows is about the file.
                comments.clear();
                continue;
            }
            first = index + 1;
        }
        lines.push(line);
        if line.ends_with(';') {
            let sql = lines.join("\n").trim_end_matches(';').to_owned();
            let comments = std::mem::take(&mut comments);
            cases.push(case(file, cases.len() + 1, first, sql, comments));
            lines.clear();
        }
    }
    assert!(lines.is_empty(), "{file}.sql: the last case has no `;`");
    cases
}

pub(super) fn case(
    file: &str,
    number: usize,
    line: usize,
    sql: String,
    comments: Vec<String>,
) -> Case {
    let mut case = Case {
        file: file.to_owned(),
        number,
        line,
        ordered: orders(&sql),
        sql,
        arm: None,
        expect: Expect::Answer,
        representative: false,
        superset: None,
        tolerance: 1e-12,
        comments: Vec::new(),
    };
    for comment in &comments {
        let (word, value) = comment.split_once(':').unwrap_or((comment, ""));
        let value = value.trim().to_owned();
        match word {
            "unordered" => case.ordered = false,
            "ordered" => case.ordered = true,
            "arm" => case.arm = Some(value),
            "refused" => case.expect = Expect::Refused(value),
            "may be refused" => case.expect = Expect::MayBeRefused(value),
            "error" => case.expect = Expect::Error(value),
            "representative" => case.representative = true,
            "subset of" => case.superset = Some(value),
            "tolerance" => case.tolerance = value.parse().expect("a tolerance"),
            _ => {}
        }
    }
    case.comments = comments;
    case
}

/// Whether `order by` stands outside of parentheses and strings.
fn orders(sql: &str) -> bool {
    let mut depth = 0;
    let mut quote = None;
    let mut outside = String::new();
    for c in sql.to_ascii_lowercase().chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, c) if depth == 0 => outside.push(c),
            (None, _) => {}
        }
    }
    let words: Vec<_> = outside.split_whitespace().collect();
    words.windows(2).any(|pair| pair == ["order", "by"])
}

#[test]
fn directives_and_statements_are_found() {
    let text = "-- about the file\n\n-- arm: union\n-- trap 12, trap 3: a; b\nselect ';'\n\
                from t;\n-- unordered\nselect 1 order by 1;\n\nselect 2 order\nby 1;\n\
                -- refused: random\nselect sum(x order by y), 'order by' from t;\n";
    let cases = parse("f", text);
    assert_eq!(cases.len(), 4);
    assert_eq!(cases[0].sql, "select ';'\nfrom t");
    assert_eq!((cases[0].number, cases[0].line), (1, 5));
    assert_eq!(cases[0].arm.as_deref(), Some("union"));
    assert!(cases[0].names("trap", 12) && cases[0].names("trap", 3) && !cases[0].names("trap", 1));
    let ordered: Vec<_> = cases.iter().map(|case| case.ordered).collect();
    assert_eq!(ordered, [false, false, true, false]);
    assert_eq!(cases[3].expect, Expect::Refused("random".into()));
}
