//! The handle on all shards.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use merganser::config::{
    ConnectionString, Environment, Finish, Shard, TableKind, Topology, TopologyBuilder,
};
use merganser::inspect::Inspector;
use merganser::{Cluster as Library, Partition};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tokio::time::timeout;

use crate::engine::{Asked, Engine};
use crate::error::{config, raised};
use crate::inspect;
use crate::options::{RunOptions, session_settings};
use crate::query::NativeQuery;
use crate::runtime::{self, ENDING_TIMEOUT, lock};
use crate::wait::{wait, wait_and_look};

/// All shards of a topology, with a pool of connections for each.
#[pyclass(frozen, module = "merganser._merganser")]
pub(crate) struct Cluster(Arc<Engine>);

/// Name, key (`None`: replicated), colocation group and shard index of a table.
type TableArgument = (String, Option<String>, Option<String>, Option<String>);

/// The cluster of a topology file, or of shards and tables.
///
/// Reads files, and connects to nothing yet.
#[pyfunction]
#[pyo3(signature = (path, shards, tables, session, finish, connections_per_shard))]
pub(crate) fn connect(
    py: Python<'_>,
    path: Option<PathBuf>,
    shards: Vec<(Option<String>, String)>,
    tables: Vec<TableArgument>,
    session: &Bound<'_, PyDict>,
    finish: Option<String>,
    connections_per_shard: Option<usize>,
) -> PyResult<Cluster> {
    let topology = match path {
        Some(path) => py.detach(|| Topology::from_path(path)),
        None => {
            let session = session_settings(py, session)?;
            let builder = topology(shards, tables, finish.as_deref());
            builder.with_session(session).build()
        }
    }
    .map_err(|error| raised(py, &error))?;
    let mut builder = Library::builder(topology).with_environment(Environment::from_process());
    match connections_per_shard {
        Some(0) => return Err(config(py, "connections_per_shard is at least 1", None)),
        Some(connections) => builder = builder.with_connections_per_shard(connections),
        None => {}
    }
    let handle = runtime::handle()?;
    let _entered = handle.enter();
    let cluster = py.detach(|| builder.build());
    let cluster = cluster.map_err(|error| raised(py, &error))?;
    Ok(Cluster(Engine::new(cluster)))
}

fn topology(
    shards: Vec<(Option<String>, String)>,
    tables: Vec<TableArgument>,
    finish: Option<&str>,
) -> TopologyBuilder {
    let mut builder = Topology::builder();
    for (index, (name, url)) in shards.into_iter().enumerate() {
        let name = name.unwrap_or_else(|| format!("s{index}"));
        builder = builder.with_shard(Shard::new(&name, &url));
    }
    for (name, key, colocation, shard_index) in tables {
        let kind = match key {
            None => TableKind::Replicated,
            Some(key) => TableKind::Sharded {
                key,
                colocation,
                shard_index,
            },
        };
        builder = builder.with_table(&name, kind);
    }
    match finish {
        None => builder,
        Some("off") => builder.with_finish(Finish::Off),
        Some(url) => builder.with_finish(Finish::Server(ConnectionString::new(url))),
    }
}

#[pymethods]
impl Cluster {
    /// SQL as if one PostgreSQL held all rows.
    #[pyo3(signature = (sql, params=None, **options))]
    fn query(
        &self,
        py: Python<'_>,
        sql: String,
        params: Option<Vec<Option<String>>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<NativeQuery> {
        self.0.cluster(py)?;
        let options = RunOptions::planned(py, options)?;
        let asked = Asked::Query(sql, params.unwrap_or_default());
        Ok(NativeQuery::new(self.0.clone(), asked, options))
    }

    /// The same SQL on every shard, and if wanted `DataFusion` SQL over all their rows.
    #[pyo3(signature = (sql, params=None, *, merge_sql=None, **options))]
    fn fan_out(
        &self,
        py: Python<'_>,
        sql: String,
        params: Option<Vec<Option<String>>>,
        merge_sql: Option<String>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<NativeQuery> {
        self.0.cluster(py)?;
        let options = RunOptions::fan_out(py, merge_sql, options)?;
        let asked = Asked::FanOut(sql, params.unwrap_or_default());
        Ok(NativeQuery::new(self.0.clone(), asked, options))
    }

    /// A part of a query that somebody has cut, and sealed with the key.
    #[pyo3(signature = (sealed, key, **options))]
    fn read_partition(
        &self,
        py: Python<'_>,
        sealed: &[u8],
        key: &[u8],
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<NativeQuery> {
        self.0.cluster(py)?;
        let options = RunOptions::partition(py, options)?;
        let partition = Partition::unseal(sealed, key).map_err(|error| raised(py, &error))?;
        let asked = Asked::Partition(partition);
        Ok(NativeQuery::new(self.0.clone(), asked, options))
    }

    /// The tables of the topology and the views of the databases: a dictionary for each.
    fn tables<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let cluster = self.0.cluster(py)?;
        let tables = wait(py, cluster.tables())?;
        let list = PyList::empty(py);
        for table in &tables {
            list.append(inspect::table(py, table)?)?;
        }
        Ok(list)
    }

    /// Finds out how tables are spread over the shards; `watcher` is told what is being read.
    #[pyo3(signature = (shard_keys, verify, sample_above, watcher))]
    fn inspect<'py>(
        &self,
        py: Python<'py>,
        shard_keys: Vec<(String, String)>,
        verify: bool,
        sample_above: Option<u64>,
        watcher: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let mut inspector = Inspector::new(self.0.cluster(py)?.clone()).with_verify(verify);
        for (table, key) in &shard_keys {
            inspector = inspector.with_shard_key(table, key);
        }
        if let Some(rows) = sample_above {
            inspector = inspector.with_sample_above(rows);
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let lines = seen.clone();
        inspector = inspector.with_watcher(move |line| lock(&lines).push(line.to_owned()));
        let tell = |_: Python<'py>| -> PyResult<()> {
            for line in std::mem::take(&mut *lock(&seen)) {
                if let Some(watcher) = &watcher {
                    watcher.call1((line,))?;
                }
            }
            Ok(())
        };
        let report = wait_and_look(py, inspector.run(), |_| tell(py))?;
        let report = report.map_err(|error| raised(py, &error))?;
        tell(py)?;
        inspect::report(py, &report)
    }

    /// Forgets what is known of the shards' tables, views, types, functions and collations.
    fn refresh(&self, py: Python<'_>) -> PyResult<()> {
        let cluster = self.0.cluster(py)?;
        wait(py, async {
            cluster.refresh().await;
            Ok(())
        })
    }

    /// Ends what still runs, and closes all connections. Nothing when it is closed already, or
    /// belongs to another process.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Some(cluster) = self.0.shut() else {
            return Ok(());
        };
        wait(py, async {
            let _ = timeout(ENDING_TIMEOUT, cluster.close()).await;
            Ok(())
        })
    }

    /// Ends every query that runs, from any thread.
    fn cancel(&self) {
        self.0.cancel();
    }

    /// Ends every query that runs, and each that begins, until [`Cluster::resume`].
    fn interrupt(&self) {
        self.0.runs().end_what_begins(true);
        self.cancel();
    }

    fn resume(&self) {
        self.0.runs().end_what_begins(false);
    }

    #[getter]
    fn closed(&self) -> bool {
        self.0.is_closed()
    }

    /// The names of the shards, in the order of the topology.
    #[getter]
    fn shards(&self) -> Vec<String> {
        let shards = self.0.topology().map_or(&[][..], Topology::shards);
        shards.iter().map(|shard| shard.name().to_owned()).collect()
    }

    /// Whether the topology names tables, without which nothing can be planned.
    #[getter]
    fn has_tables(&self) -> bool {
        let topology = self.0.topology();
        topology.is_some_and(|topology| !topology.tables().is_empty())
    }

    /// Raises if the connection is closed, or another process's.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.0.cluster(py).map(|_| ())
    }
}
