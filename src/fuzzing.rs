//! Where fuzz targets begin: parsers of what servers, files and users give, which nobody else reaches from
//! outside. In builds with `--cfg fuzzing` alone, as `fuzz/run` makes them; no part of the API.

#![allow(missing_docs)]

use crate::statement::{self, Statement};

/// A text that a user asks with: where it ends, its parameters, and places in it.
pub fn statement(text: &str) {
    for position in [0, 1, text.len() as u32 / 2, u32::MAX] {
        if let Some((_, column, line)) = statement::locate(text, position) {
            let _ = statement::folded_name(line, column);
        }
    }
    if let Ok(statement) = Statement::parse(text) {
        let value = "'x'".to_owned();
        for count in 0..4 {
            let values = vec![value.clone(); count];
            if statement.check_parameters(count).is_ok() {
                let filled = statement
                    .with_parameters(&values)
                    .expect("as many as asked");
                // What is filled in is text, and takes no part in the statement.
                let again = Statement::parse(&filled).expect("still one statement");
                again.check_parameters(0).expect("no parameter is left");
            }
        }
    }
}

/// Types that have no name that all databases know.
pub fn made_types() -> Vec<crate::types::PgType> {
    crate::types::PgType::made()
}

/// The texts of password files and service files.
pub fn files(text: &str) {
    crate::config::fuzz(text);
}

/// What a server sends.
pub fn wire(input: &[u8]) {
    crate::connect::fuzz::wire(input);
}

/// What a server shows as its certificate.
pub fn certificate(bytes: &[u8]) {
    crate::connect::fuzz::certificate(bytes);
}

/// The journal and the manifest of a folder.
pub fn journal(text: &str) {
    crate::export::fuzz(text);
}

/// A statement, through parser and planner. How often it was planned, 0 or 1.
#[cfg(feature = "datafusion")]
pub fn plan(text: &str) -> usize {
    crate::plan::fuzz(text)
}

/// The descriptor of a partition.
#[cfg(feature = "datafusion")]
pub fn descriptor(bytes: &[u8]) {
    if let Ok(partition) = crate::query::Partition::unseal(bytes, b"key") {
        let again = crate::query::Partition::unseal(&partition.seal(b"key"), b"key");
        let again = again.expect("what was sealed");
        assert_eq!(again.seal(b""), partition.seal(b""));
    }
    let _ = crate::query::Partition::unseal(bytes, b"");
}
