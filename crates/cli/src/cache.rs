//! What the program keeps from one run to the next: the catalogs of shards.

use merganser::ClusterBuilder;
#[cfg(feature = "datafusion")]
use std::{ffi::OsString, path::PathBuf};

use crate::args::Cache;

/// The same, and catalogs are kept unless a flag or the environment says otherwise.
#[cfg(feature = "datafusion")]
pub(crate) fn keep_catalogs(builder: ClusterBuilder, cache: &Cache) -> ClusterBuilder {
    let variable = |name: &str| std::env::var_os(name);
    match folder(variable).filter(|_| !cache.no_cache) {
        Some(folder) => builder.with_catalog_cache(folder),
        None => builder,
    }
}

/// Without planned queries nobody reads catalogs.
#[cfg(not(feature = "datafusion"))]
pub(crate) fn keep_catalogs(builder: ClusterBuilder, _: &Cache) -> ClusterBuilder {
    builder
}

/// The folder that the environment names: one that is named empty is none, and of the XDG Base Directory
/// Specification is that relative ones do not count.
#[cfg(feature = "datafusion")]
fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(own) = variable("MERGANSER_CACHE_DIR") {
        return (!own.is_empty()).then(|| own.into());
    }
    let absolute = |name: &str| {
        let path = PathBuf::from(variable(name)?);
        path.is_absolute().then_some(path)
    };
    let caches = absolute("XDG_CACHE_HOME");
    let caches = caches.or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("merganser"))
}

#[cfg(all(test, feature = "datafusion"))]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_folder() {
        for (variables, expected) in [
            (&[][..], None),
            (&[("HOME", "/h")], Some("/h/.cache/merganser")),
            (&[("HOME", "")], None),
            (
                &[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")],
                Some("/x/merganser"),
            ),
            (
                &[("HOME", "/h"), ("XDG_CACHE_HOME", "x")],
                Some("/h/.cache/merganser"),
            ),
            (
                &[("XDG_CACHE_HOME", "/x"), ("MERGANSER_CACHE_DIR", "m")],
                Some("m"),
            ),
            (&[("HOME", "/h"), ("MERGANSER_CACHE_DIR", "")], None),
        ] {
            let value = |name: &str| {
                let found = variables.iter().find(|(it, _)| *it == name)?;
                Some(OsString::from(found.1))
            };
            assert_eq!(folder(value), expected.map(PathBuf::from), "{variables:?}");
        }
    }
}
