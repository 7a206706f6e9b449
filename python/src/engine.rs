//! A cluster of the library with the queries of it that run, and what ends them all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use merganser::config::Topology;
use merganser::{Cluster as Library, Partition};
use pyo3::prelude::*;
use tokio::time::timeout;

use crate::error::interface;
use crate::options::RunOptions;
use crate::partitions::Held;
use crate::runs::Runs;
use crate::runtime::{self, ENDING_TIMEOUT, Local, lock};
use crate::statement::Statement;

/// Every engine of this process, for the end of the interpreter.
static ENGINES: Mutex<Vec<Weak<Engine>>> = Mutex::new(Vec::new());

/// What is asked for: a text with its values, or a part of a query.
pub(crate) enum Asked {
    Query(String, Vec<Option<String>>),
    FanOut(String, Vec<Option<String>>),
    Partition(Partition),
}

/// A cluster of the library, the queries of it that run, and the leases that it keeps.
pub(crate) struct Engine {
    cluster: Local<Library>,
    closed: AtomicBool,
    runs: Runs,
    leases: Mutex<Vec<Weak<Held>>>,
}

impl Engine {
    pub(crate) fn new(cluster: Library) -> Arc<Self> {
        let engine = Arc::new(Self {
            cluster: Local::new(cluster),
            closed: AtomicBool::new(false),
            runs: Runs::default(),
            leases: Mutex::default(),
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

    /// A run of what is asked for.
    pub(crate) fn statement(
        &self,
        py: Python<'_>,
        asked: &Asked,
        options: &RunOptions,
    ) -> PyResult<Statement> {
        let cluster = self.cluster(py)?;
        Ok(match asked {
            Asked::Query(sql, params) => {
                Statement::Planned(options.set_planned(cluster.query(sql), params))
            }
            Asked::FanOut(sql, params) => {
                Statement::FanOut(options.set_fan_out(cluster.fan_out(sql), params))
            }
            Asked::Partition(partition) => {
                Statement::Partition(options.set_partition(cluster.read_partition(partition)))
            }
        })
    }

    /// A lease that ends with this, at the latest.
    pub(crate) fn keep(&self, held: &Arc<Held>) {
        let mut leases = lock(&self.leases);
        leases.retain(|lease| lease.strong_count() > 0);
        leases.push(Arc::downgrade(held));
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

    /// Ends all queries and leases, and gives back the cluster, whose connections are to be closed.
    pub(crate) fn shut(&self) -> Option<Library> {
        self.closed.store(true, Ordering::Release);
        let cluster = self.cluster.get()?.clone();
        self.runs.cancel_all();
        for held in std::mem::take(&mut *lock(&self.leases)) {
            if let Some(held) = held.upgrade() {
                held.end();
            }
        }
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
