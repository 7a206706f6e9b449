//! DataFusion's errors in our words.

use std::io;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use datafusion::common::DataFusionError;

use crate::error::{Error, ErrorKind, Phase};

/// An error of parsing or planning the merge SQL over `shards` with these columns.
pub(super) fn planning(error: DataFusionError, columns: &Schema) -> Error {
    let error = match ours(error) {
        Ok(error) => return error.with_phase(Phase::Merge),
        Err(error) => error,
    };
    let kind = match innermost(&error) {
        DataFusionError::NotImplemented(_) => ErrorKind::Unsupported,
        // DataFusion takes what it cannot plan for a fault of its own.
        DataFusionError::Internal(_) => ErrorKind::Unsupported,
        DataFusionError::IoError(_) | DataFusionError::ResourcesExhausted(_) => {
            return execution(error);
        }
        _ => ErrorKind::Syntax,
    };
    let named = Error::new(kind, message(&error)).with_phase(Phase::Merge);
    if columns.fields().is_empty() {
        return named;
    }
    let names: Vec<_> = columns
        .fields()
        .iter()
        .map(|field| quoted(field.name()))
        .collect();
    let names = names.join(", ");
    named.with_hint(format!(
        "the only table is shards, and its columns are {names}"
    ))
}

/// An error of running the plan.
pub(in crate::merge) fn execution(error: DataFusionError) -> Error {
    let error = match ours(error) {
        Ok(error) => return error.with_phase(Phase::Merge),
        Err(error) => error,
    };
    let plain = Error::new(ErrorKind::Execute, message(&error)).with_phase(Phase::Merge);
    match innermost(&error) {
        DataFusionError::ResourcesExhausted(_) => plain.with_kind(ErrorKind::Limit).with_hint(
            "the merge needs more memory than it may use: raise --memory, or let the shards \
             aggregate more",
        ),
        _ => match io_cause(&error) {
            Some(cause) => about_temporary_files(plain, cause),
            None => plain,
        },
    }
}

/// What a merge reads and writes by itself is what does not fit into its memory.
fn about_temporary_files(error: Error, cause: &io::Error) -> Error {
    let folder = std::env::temp_dir();
    let folder = folder.display();
    let said = cause.to_string();
    // Some layers make an error of their own of the text.
    let is_full = matches!(
        cause.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) || said.contains("No space left on device");
    let message = match is_full {
        true => format!("the folder for temporary files, {folder}, is full"),
        false => format!("the merge cannot use the folder for temporary files, {folder}: {said}"),
    };
    Error::new(error.kind(), message)
        .with_phase(Phase::Merge)
        .with_source(io::Error::new(cause.kind(), said))
        .with_hint(
            "rows that do not fit into the memory of the query go there: make room, name another \
             folder in the environment variable TMPDIR, or give the query more memory (--memory)",
        )
}

/// What the operating system said, beneath all layers.
fn io_cause(error: &DataFusionError) -> Option<&io::Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        // Neither of them names these as its source in all versions.
        next = match (error.downcast_ref(), error.downcast_ref()) {
            (Some(DataFusionError::IoError(io)), _) => return Some(io),
            (_, Some(ArrowError::IoError(_, io))) => return Some(io),
            _ => error.source(),
        };
    }
    None
}

/// Takes our own error out of the layers that DataFusion and Arrow put around it. Else the error
/// itself.
fn ours(error: DataFusionError) -> Result<Error, DataFusionError> {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => Ok(*error),
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(error) => ours(*error),
                Err(inner) => match inner.downcast::<ArrowError>() {
                    Ok(error) => ours(DataFusionError::ArrowError(error, None)),
                    Err(inner) => Err(DataFusionError::External(inner)),
                },
            },
        },
        DataFusionError::ArrowError(inner, backtrace) => match *inner {
            ArrowError::ExternalError(inner) => ours(DataFusionError::External(inner)),
            other => Err(DataFusionError::ArrowError(Box::new(other), backtrace)),
        },
        DataFusionError::Context(text, inner) => {
            ours(*inner).map_err(|inner| DataFusionError::Context(text, Box::new(inner)))
        }
        DataFusionError::Diagnostic(diagnostic, inner) => {
            ours(*inner).map_err(|inner| DataFusionError::Diagnostic(diagnostic, Box::new(inner)))
        }
        DataFusionError::Collection(errors) => {
            let mut others = Vec::with_capacity(errors.len());
            for error in errors {
                match ours(error) {
                    Ok(error) => return Ok(error),
                    Err(error) => others.push(error),
                }
            }
            Err(DataFusionError::Collection(others))
        }
        DataFusionError::Shared(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => ours(inner),
            // Others hold it too.
            Err(inner) => match found(&inner) {
                Some(error) => Ok(error.copy()),
                None => Err(DataFusionError::Shared(inner)),
            },
        },
        other => Err(other),
    }
}

fn found<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<Error>() {
            return Some(error);
        }
        if let Some(DataFusionError::Collection(errors)) = error.downcast_ref() {
            return errors.iter().find_map(|error| found(error));
        }
        next = error.source();
    }
    None
}

/// Beneath the layers that only add context.
fn innermost(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            innermost(inner)
        }
        DataFusionError::Shared(inner) => innermost(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, innermost),
        other => other,
    }
}

/// What happened, without the names that DataFusion gives to its own stages.
fn message(error: &DataFusionError) -> String {
    let text = match innermost(error) {
        DataFusionError::SQL(inner, _) => inner.to_string(),
        DataFusionError::ArrowError(inner, _) => inner.to_string(),
        DataFusionError::SchemaError(inner, _) => inner.to_string(),
        other => other.message().into_owned(),
    };
    let text = text
        .split(DataFusionError::BACK_TRACE_SEP)
        .next()
        .unwrap_or_default();
    // Whom to ask for help is not DataFusion here.
    let text = text.split("\nThis issue was likely caused").next();
    let text = text
        .unwrap_or_default()
        .replace("Error during planning: ", "");
    let mut text = text.trim();
    while let Some(rest) = NOISE.iter().find_map(|noise| text.strip_prefix(noise)) {
        text = rest;
    }
    let text = text.trim_end_matches('.');
    // Lower case like our own messages, unless the first word is all in capitals.
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// An identifier as it has to be written in SQL.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
    {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names of stages before a message.
const NOISE: &[&str] = &[
    "Internal error: ",
    "Error during planning: ",
    "Execution error: ",
    "Arrow error: ",
    "SQL error: ",
    "Schema error: ",
    "External error: ",
    "sql parser error: ",
    "Compute error: ",
    "Arithmetic overflow: ",
    "Cast error: ",
    "Invalid argument error: ",
    "This feature is not implemented: ",
    "Resources exhausted: ",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Error {
        Error::new(ErrorKind::Server, "terminating connection")
            .with_shard("s1")
            .with_phase(Phase::Stream)
            .with_sql_state("57P01")
            .with_hint("again")
            .with_source("below")
    }

    #[test]
    fn our_error_comes_out_of_all_layers_as_it_went_in() {
        let external = || DataFusionError::External(failure().into());
        let shared = Arc::new(external().context("x"));
        let cases = [
            external(),
            external().context("a").context("b"),
            DataFusionError::Shared(Arc::new(external())),
            DataFusionError::Shared(Arc::clone(&shared)),
            DataFusionError::Shared(Arc::new(DataFusionError::Shared(shared))),
            ArrowError::ExternalError(failure().into()).into(),
            ArrowError::ExternalError(external().into()).into(),
            DataFusionError::External(Box::new(ArrowError::ExternalError(failure().into()))),
            DataFusionError::Collection(vec![
                DataFusionError::Plan("other".to_owned()),
                external(),
            ]),
        ];
        for case in cases {
            let shown = format!("{case:?}");
            let error = execution(case);
            assert_eq!(error.kind(), ErrorKind::Server, "{shown}");
            assert_eq!(error.shard(), Some("s1"));
            assert_eq!(error.phase(), Some(Phase::Stream));
            assert_eq!(error.sql_state(), Some("57P01"));
            assert_eq!(error.hint(), Some("again"));
            let source = std::error::Error::source(&error).map(ToString::to_string);
            assert_eq!(source.as_deref(), Some("below"));
        }
    }

    #[test]
    fn a_full_folder_for_temporary_files_is_named_with_the_cure() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        for case in [
            DataFusionError::IoError(full()),
            DataFusionError::IoError(full()).context("spilling"),
            ArrowError::IoError("IO error".to_owned(), full()).into(),
            ArrowError::IoError(
                "IO error".to_owned(),
                io::Error::other("IO error: No space left on device (os error 28)"),
            )
            .into(),
            DataFusionError::External(Box::new(ArrowError::from(full()))),
            DataFusionError::Shared(Arc::new(DataFusionError::IoError(full()))),
        ] {
            let shown = format!("{case:?}");
            let error = execution(case);
            let folder = std::env::temp_dir().display().to_string();
            assert_eq!(
                error.message(),
                format!("the folder for temporary files, {folder}, is full"),
                "{shown}"
            );
            assert!(error.hint().unwrap().contains("TMPDIR"));
        }
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = execution(DataFusionError::IoError(denied));
        assert!(error.message().contains("permission denied"), "{error}");
    }

    #[test]
    fn messages_lose_the_names_of_stages() {
        let plan = DataFusionError::Plan("table 'x' not found".to_owned()).context("type_coercion");
        assert_eq!(
            planning(plan, &Schema::empty()).message(),
            "table 'x' not found"
        );
        let arrow = ArrowError::ArithmeticOverflow("Overflow happened on: 1 + 2".to_owned());
        let error = execution(arrow.into());
        assert_eq!(error.message(), "overflow happened on: 1 + 2");
        assert_eq!(error.kind(), ErrorKind::Execute);
    }

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        assert_eq!(quoted("n_1"), "n_1");
        assert_eq!(quoted("?column?"), "\"?column?\"");
        assert_eq!(quoted("Mixed"), "\"Mixed\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted("1a"), "\"1a\"");
    }
}
