//! The native part of the Python package `merganser`.
//!
//! ```text
//! runtime   threads, forks, the end of the interpreter
//! wait      without the GIL, with an ear for signals
//! cluster   what `connect` gives; engine: a cluster of the library and the queries of it that run
//! query     a query as it was asked; options: its keyword arguments; statement: one run of it
//! partitions  parts of a query for other processes, and the lease on their snapshots
//! reader    the rows of one run: rows: as Python's objects; capsule, decimals, views: as Arrow
//! adbc      the ADBC driver, whose symbols this library exports too
//! error     exceptions; logging; schema; inspect: tables and reports as dictionaries
//! ```
//! What users see is in `merganser/*.py`; `merganser/_merganser.pyi` has the types of what is here.

// PyO3 makes public what Python sees.
#![allow(unreachable_pub, missing_docs)]

mod adbc;
mod capsule;
mod cluster;
mod decimals;
mod engine;
mod error;
mod inspect;
mod logging;
mod options;
mod partitions;
mod query;
mod reader;
mod rows;
mod runs;
mod runtime;
mod schema;
mod statement;
mod views;
mod wait;

use pyo3::prelude::*;

#[pymodule]
mod _merganser {
    use super::*;

    #[pymodule_export]
    use super::adbc::write_adbc_manifest;
    #[pymodule_export]
    use super::cluster::{Cluster, connect};
    #[pymodule_export]
    use super::engine::shut_down;
    #[pymodule_export]
    use super::logging::{next_log_record, start_logging};
    #[pymodule_export]
    use super::partitions::Partitions;
    #[pymodule_export]
    use super::query::NativeQuery;
    #[pymodule_export]
    use super::reader::{Batch, Reader};
    #[pymodule_export]
    use super::schema::Schema;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        wait::look_for_main_thread(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
