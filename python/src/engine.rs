//! A cluster of the library with the queries of it that run, and what ends them all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use merganser::Cluster as Library;
use merganser::config::Topology;
use pyo3::prelude::*;
use tokio::time::timeout;

use crate::error::interface;
use crate::options::RunOptions;
use crate::runs::Runs;
use crate::runtime::{self, ENDING_TIMEOUT, Local, lock};
use crate::statement::Statement;

/// Every engine of this process, for the end of the interpreter.
static ENGINES: Mutex<Vec<Weak<Engine>>> = Mutex::new(Vec::new());

/// A cluster of the library, and the queries of it that run.
pub(crate) struct Engine {
    cluster: Local<Library>,
    closed: AtomicBool,
    runs: Runs,
}

impl Engine {
    pub(crate) fn new(cluster: Library) -> Arc<Self> {
        let engine = Arc::new(Self {
            cluster: Local::new(cluster),
            closed: AtomicBool::new(false),
            runs: Runs::default(),
        });
        let mut engines = lock(&ENGINES);
        engines.retain(|engine| engine.strong_count() > 0);
        engines.push(Arc::downgrade(&engine));
        engine
    }

    /// The cluster, if it may be used.
    ///
    /// # Errors
    /// `InterfaceError` once it is closed, and in the child of a fork.
    pub(crate) fn cluster(&self, py: Python<'_>) -> PyResult<&Library> {
        let Some(cluster) = self.cluster.get() else {
            return Err(forked(py, self.cluster.process()));
        };
        match self.is_closed() {
            true => Err(interface(
                py,
                "the connection is closed",
                "open another one with merganser.connect(..)",
            )),
            false => Ok(cluster),
        }
    }

    /// What the options and the text ask for.
    pub(crate) fn statement(
        &self,
        py: Python<'_>,
        sql: &str,
        params: &[Option<String>],
        options: &RunOptions,
    ) -> PyResult<Statement> {
        let cluster = self.cluster(py)?;
        Ok(match options.is_fan_out {
            true => Statement::FanOut(options.set_fan_out(cluster.fan_out(sql), params)),
            false => Statement::Planned(options.set_planned(cluster.query(sql), params)),
        })
    }

    pub(crate) fn runs(&self) -> &Runs {
        &self.runs
    }

    /// The topology; `None` in the child of a fork.
    pub(crate) fn topology(&self) -> Option<&Topology> {
        self.cluster.get().map(Library::topology)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends every query that runs; nothing in the child of a fork.
    pub(crate) fn cancel(&self) {
        if self.cluster.is_at_home() {
            self.runs.cancel_all();
        }
    }

    /// Ends all queries, and closes the connections of the cluster that is given back.
    pub(crate) fn shut(&self) -> Option<Library> {
        self.closed.store(true, Ordering::Release);
        let cluster = self.cluster.get()?.clone();
        self.runs.cancel_all();
        Some(cluster)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(cluster) = self.cluster.get().cloned() {
            runtime::end_later(async move { cluster.close().await });
        }
    }
}

/// What is used in the child of a fork belongs to its parent.
pub(crate) fn forked(py: Python<'_>, process: u32) -> PyErr {
    interface(
        py,
        &format!("opened by process {process}: connections do not survive a fork"),
        "connect in the child, or let multiprocessing start it by 'spawn' or 'forkserver'",
    )
}

/// Called when the interpreter ends: no query goes on on a server that nobody waits for any more.
#[pyfunction]
pub(crate) fn shut_down(py: Python<'_>) {
    let Some(handle) = runtime::running() else {
        return;
    };
    let engines: Vec<_> = lock(&ENGINES).iter().filter_map(Weak::upgrade).collect();
    let clusters: Vec<_> = engines.iter().filter_map(|engine| engine.shut()).collect();
    py.detach(|| {
        handle.block_on(async {
            let _ = timeout(ENDING_TIMEOUT, async {
                for cluster in clusters {
                    cluster.close().await;
                }
                runtime::wait_for_endings().await;
            })
            .await;
        });
    });
}
