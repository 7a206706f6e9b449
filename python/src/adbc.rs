//! The ADBC driver in this library: one file for both doors.

use std::path::PathBuf;

// Not for its names: what links to it exports `AdbcDriverInit` and `AdbcMerganserInit`.
use merganser_adbc as _;
use merganser_adbc::manifest::{self, Place};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Writes the manifest by which driver managers find the driver in a library; the manifest's path.
///
/// `place` is `"user"`, `"system"`, or the `sys.prefix` of an environment.
#[pyfunction]
pub(crate) fn write_adbc_manifest(place: &str, library: PathBuf) -> PyResult<PathBuf> {
    let place = match place {
        "" => return Err(PyValueError::new_err("no place is given")),
        "user" => Place::User,
        "system" => Place::System,
        prefix => Place::Environment(prefix.into()),
    };
    Ok(manifest::install(&place, &library)?)
}
