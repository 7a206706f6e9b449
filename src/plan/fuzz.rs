//! Any text is planned, refused or an error of syntax: never a panic, a plan that does not hold, or no end.

use std::sync::{Arc, LazyLock};

use super::bind::fixture::{catalog, topology};
use super::thread::with_deep_stack;
use super::*;

static MADE: LazyLock<(Topology, Catalog)> = LazyLock::new(|| (topology(), catalog()));

/// Plans a text over tables made by hand: whether that was possible, as a number.
///
/// # Panics
/// Where the planner's own check finds a plan that does not hold.
pub(crate) fn fuzz(text: &str) -> usize {
    let (topology, catalog) = &*MADE;
    let planned = with_deep_stack(|| {
        // A server would say how many columns `*` is.
        let Some(width) = check::width(&sql::parse(text)?.body) else {
            return Ok(false);
        };
        let columns = vec![Column::new("x", "int8".parse()?); width];
        let answers = Answers::new(Arc::default(), |need| match need {
            Need::Describe(_) => Ok(Answer::Columns(vec![Column::new("x", "int8".parse()?)])),
            Need::Evaluate(sql) | Need::Shards { sql, .. } => {
                Err(Error::new(ErrorKind::Server, sql))
            }
        });
        let plan = plan(&Question {
            sql: text,
            topology,
            catalog,
            merge: MergeMode::Auto,
            system_catalogs: false,
            decimals: false,
            types: &TypeOptions::default(),
            columns: &columns,
            answers: &answers,
        })?;
        Ok(!plan.to_string().is_empty() && !plan.to_json().is_empty())
    });
    match planned {
        Ok(planned) => usize::from(planned),
        Err(error) => {
            assert!(error.kind() != ErrorKind::Internal, "{text}: {error}");
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// All statements of the tests, which name other tables, too.
    fn statements() -> Vec<String> {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
        let mut statements = Vec::new();
        for folder in ["plans", "oracle", "cases"] {
            for entry in fs::read_dir(data.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "sql") {
                    let text = fs::read_to_string(path).unwrap();
                    let parts = text.split(";\n").map(|part| part.trim().to_owned());
                    statements.extend(parts.filter(|part| part.len() < 2000));
                }
            }
        }
        statements
    }

    /// Words, and what stands between them.
    fn tokens(sql: &str) -> Vec<&str> {
        let mut tokens = Vec::new();
        let mut rest = sql;
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let end = match is_word(first) {
                true => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                false => first.len_utf8(),
            };
            let (token, behind) = rest.split_at(end);
            tokens.push(token);
            rest = behind;
        }
        tokens
    }

    #[test]
    fn statements_that_are_cut_and_glued_do_not_upset_the_planner() {
        let statements = statements();
        assert!(statements.len() > 300, "{}", statements.len());
        let mut random = fastrand::Rng::with_seed(11);
        let names = ["t", "r", "v", "k", "d", "note", "x", "*", "null", "1"];
        let mut planned = 0;
        for _ in 0..3000 {
            let one = &statements[random.usize(..statements.len())];
            let other = &statements[random.usize(..statements.len())];
            let (mut one, other) = (tokens(one), tokens(other));
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..one.len().max(1)).min(one.len());
                let to = (at + random.usize(..6)).min(one.len());
                let from = random.usize(..other.len().max(1)).min(other.len());
                let until = (from + random.usize(..12)).min(other.len());
                let put = match random.u8(..4) {
                    0 => vec![],
                    1 => vec![names[random.usize(..names.len())]],
                    2 => one[at..to].repeat(2),
                    _ => other[from..until].to_vec(),
                };
                one.splice(at..to, put);
            }
            planned += fuzz(&one.concat());
        }
        assert!(planned > 10, "only {planned} of 3000 were planned");
    }
}
