//! A query, or a part of one, as it was asked: it runs anew each time somebody wants its rows.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures::TryStreamExt;
use merganser::arrow::array::{RecordBatch, RecordBatchReader as _};
use merganser::arrow::datatypes::SchemaRef;
use merganser::export::{
    self, Compression, CsvFormulas, Destination, DuplicateColumns, ExportOptions, Format, Progress,
};
use merganser::types::TextAs;
use merganser::{Error, MissingShards, Partition, Query, ScanProgress, ShardState};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList};

use crate::capsule;
use crate::engine::{Asked, Engine};
use crate::error::{Failure, raised};
use crate::options::{RunOptions, partition_options};
use crate::partitions::{Partitions, seconds_since_1970};
use crate::reader::{Reader, converted};
use crate::runs::{Run, Runs};
use crate::runtime::lock;
use crate::schema::Schema;
use crate::statement::Statement;
use crate::views::{view_schema, with_views};
use crate::wait::{wait, wait_and_look};

/// What is asked for, with its options. Each method that wants something of the servers runs it anew.
#[pyclass(frozen, module = "merganser._merganser")]
pub(crate) struct NativeQuery {
    engine: Arc<Engine>,
    asked: Asked,
    options: RunOptions,
    runs: Runs,
    /// What [`NativeQuery::__arrow_c_schema__`] has promised.
    promised: Mutex<Option<SchemaRef>>,
}

impl NativeQuery {
    pub(crate) fn new(engine: Arc<Engine>, asked: Asked, options: RunOptions) -> Self {
        Self {
            engine,
            asked,
            options,
            runs: Runs::default(),
            promised: Mutex::new(None),
        }
    }

    /// A run of it, which can be ended from elsewhere as long as the guards live.
    fn begin(&self, py: Python<'_>, options: &RunOptions) -> PyResult<(Statement, (Run, Run))> {
        let statement = self.engine.statement(py, &self.asked, options)?;
        let cancel = statement.cancel_handle();
        let runs = (
            self.runs.begin(cancel.clone()),
            self.engine.runs().begin(cancel),
        );
        Ok((statement, runs))
    }

    fn start(&self, py: Python<'_>) -> PyResult<Reader> {
        let (statement, runs) = self.begin(py, &self.options)?;
        let cancel = statement.cancel_handle();
        let (stream, types) = wait(py, statement.stream())?;
        let engine = self.engine.clone();
        Ok(Reader::running(stream, runs, types, engine, cancel))
    }

    fn part(&self) -> Option<&Partition> {
        match &self.asked {
            Asked::Partition(partition) => Some(partition),
            Asked::Query(..) | Asked::FanOut(..) => None,
        }
    }

    /// The planned query, for what only such a one has.
    fn planned(&self, py: Python<'_>, what: &str) -> PyResult<(Query, (Run, Run))> {
        match self.begin(py, &self.options)? {
            (Statement::Planned(query), runs) => Ok((query, runs)),
            (Statement::FanOut(_), _) => Err(Failure::new(
                "unsupported",
                &format!("a fan-out has no {what}: its text runs on every shard as it is"),
                Some("con.sql(..) plans a query"),
            )
            .raise(py)),
            (Statement::Partition(_), _) => Err(part_has_no(py, what)),
        }
    }
}

fn part_has_no(py: Python<'_>, what: &str) -> PyErr {
    let message = format!("a part of a query has no {what}");
    Failure::new("unsupported", &message, Some("ask the query for it")).raise(py)
}

#[pymethods]
impl NativeQuery {
    #[getter]
    fn is_fan_out(&self) -> bool {
        matches!(self.asked, Asked::FanOut(..))
    }

    /// The shard that has the rows, if this is a part of a query.
    #[getter]
    fn shard(&self) -> Option<&str> {
        Some(self.part()?.shard())
    }

    /// The first block of the table, and the one behind the last, if this is such a part.
    #[getter]
    fn blocks(&self) -> Option<(u64, u64)> {
        let blocks = self.part()?.blocks()?;
        Some((blocks.start, blocks.end))
    }

    /// The end of the lease, in seconds since 1970, if this is a part of a query.
    #[getter]
    fn expires(&self) -> Option<f64> {
        Some(seconds_since_1970(self.part()?.expires()))
    }

    /// Name of each shard that the rows of the last run go without, and why.
    #[getter]
    fn missing_shards(&self) -> Vec<(String, String)> {
        let errors = self.options.missing.as_ref().map(MissingShards::errors);
        let errors = errors.into_iter().flatten();
        errors
            .map(|error| {
                let shard = error.shard().unwrap_or_default().to_owned();
                (shard, error.to_string())
            })
            .collect()
    }

    /// Names and types of the columns, without running the query.
    fn describe(&self, py: Python<'_>) -> PyResult<Schema> {
        let (statement, _runs) = self.begin(py, &self.options)?;
        let described = statement.describe(self.options.is_merged());
        let (schema, types) = wait(py, described)?;
        Ok(Schema::new(schema, types))
    }

    /// Runs the query; the rows as they come.
    fn stream(&self, py: Python<'_>) -> PyResult<Reader> {
        self.start(py)
    }

    /// Runs the query to its end. `progress` is called now and then with what each shard does;
    /// `text_views` is for Polars, see [`crate::views`]; `for_rows` for rows of Python objects.
    #[pyo3(signature = (progress=None, text_views=false, for_rows=false))]
    fn collect(
        &self,
        py: Python<'_>,
        progress: Option<&Bound<'_, PyAny>>,
        text_views: bool,
        for_rows: bool,
    ) -> PyResult<Reader> {
        let text = match text_views {
            true => TextAs::Views,
            false => TextAs::Offsets,
        };
        let options = match for_rows {
            true => self.options.for_rows(),
            false => self.options.with_text(text),
        };
        let (statement, _runs) = self.begin(py, &options)?;
        let seen = ScanProgress::new();
        let statement = statement.with_progress(seen.clone());
        let collected = async {
            let (mut stream, types) = statement.stream().await?;
            // What a merge of the user's gives has none.
            if text_views && self.options.is_merged() {
                let schema = view_schema(&stream.schema());
                stream = converted(stream, schema.clone(), move |batch| {
                    with_views(batch, &schema)
                });
            }
            let schema = stream.schema();
            let batches: Vec<RecordBatch> = stream.collect().await?;
            Ok::<_, Error>((schema, batches, types))
        };
        let collected = wait_and_look(py, collected, |py| tell(py, progress, &seen))?;
        let (schema, batches, types) = collected.map_err(|error| raised(py, &error))?;
        tell(py, progress, &seen)?;
        Ok(Reader::finished(
            schema,
            batches,
            types,
            self.engine.clone(),
        ))
    }

    /// How the query runs, as text and as JSON; with `analyze` it is run for that, and the figures of
    /// each step are in it; with `verbose` the text says why each step is right.
    #[pyo3(signature = (analyze=false, verbose=false))]
    fn explain(&self, py: Python<'_>, analyze: bool, verbose: bool) -> PyResult<(String, String)> {
        let (query, _runs) = self.planned(py, "plan")?;
        if analyze {
            let analysis = wait(py, query.analyze())?;
            return Ok(py.detach(|| {
                let text = match verbose {
                    true => analysis.verbose(),
                    false => analysis.to_string(),
                };
                (text, analysis.to_json())
            }));
        }
        let plan = wait(py, query.explain())?;
        Ok(py.detach(|| {
            let text = match verbose {
                true => plan.verbose(),
                false => plan.to_string(),
            };
            (text, plan.to_json())
        }))
    }

    /// The text with its values in place.
    fn mogrify(&self, py: Python<'_>) -> PyResult<String> {
        let (statement, _runs) = self.begin(py, &self.options)?;
        match statement {
            Statement::Planned(query) => wait(py, query.mogrify()),
            Statement::FanOut(fan_out) => wait(py, fan_out.mogrify()),
            Statement::Partition(_) => Err(part_has_no(py, "text")),
        }
    }

    /// Cuts the query into parts for other processes, each sealed with the key, and keeps their
    /// snapshots.
    #[pyo3(signature = (key, lease=None, partition_bytes=None))]
    fn partitions(
        &self,
        py: Python<'_>,
        key: &[u8],
        lease: Option<&Bound<'_, PyAny>>,
        partition_bytes: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Partitions> {
        let options = partition_options(py, lease, partition_bytes)?;
        let (statement, _runs) = self.begin(py, &self.options)?;
        let cut = match statement {
            Statement::Planned(query) => wait(py, query.partitions(&options))?,
            Statement::FanOut(fan_out) => wait(py, fan_out.partitions(&options))?,
            Statement::Partition(_) => return Err(part_has_no(py, "parts")),
        };
        Ok(Partitions::new(cut, key, &self.engine))
    }

    /// Runs the query into a file, which is there when all of it is written, and not before; rows and
    /// bytes.
    #[pyo3(signature = (path, format=None, compression=None, row_group_rows=None, duplicate_columns=None, csv_escape_formulas=false, progress=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    fn write(
        &self,
        py: Python<'_>,
        path: PathBuf,
        format: Option<&str>,
        compression: Option<&str>,
        row_group_rows: Option<usize>,
        duplicate_columns: Option<&str>,
        csv_escape_formulas: bool,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(u64, u64)> {
        let (format, options) = written_as(
            &path,
            format,
            compression,
            row_group_rows,
            duplicate_columns,
            csv_escape_formulas,
        )
        .map_err(|error| raised(py, &error))?;
        let (statement, _runs) = self.begin(py, &self.options.written_as(format))?;
        let seen = ScanProgress::new();
        let statement = statement.with_progress(seen.clone());
        let written = async {
            let destination = Destination::Path(path);
            // On a thread of its own: to open a FIFO is to wait for its reader.
            let opened = tokio::task::spawn_blocking(move || destination.open()).await;
            let output = opened.map_err(|panic| {
                Error::new(merganser::ErrorKind::Export, "a thread failed").with_source(panic)
            })??;
            let (rows, _) = statement.stream().await?;
            export::write(rows, output, format, &options, &Progress::default()).await
        };
        let written = wait_and_look(py, written, |py| tell(py, progress, &seen))?;
        let summary = written.map_err(|error| raised(py, &error))?;
        tell(py, progress, &seen)?;
        Ok((summary.rows, summary.bytes))
    }

    /// Runs the query here and on one PostgreSQL that holds all rows, and compares.
    fn verify<'py>(&self, py: Python<'py>, url: &str) -> PyResult<Bound<'py, PyDict>> {
        let (query, _runs) = self.planned(py, "answer to verify")?;
        let verifier = query.verifier(url).map_err(|error| raised(py, &error))?;
        wait(py, async {
            let rows = verifier.check(query.stream().await?).await?;
            rows.try_for_each(async |_| Ok(())).await
        })?;
        let found = PyDict::new(py);
        if let Some(verified) = verifier.verified() {
            found.set_item("rows", verified.rows)?;
            found.set_item("order_keys", verified.order_keys)?;
            found.set_item("order_keys_compared", verified.order_keys_compared)?;
            found.set_item("float_order", verified.float_order)?;
            found.set_item("text", verified.to_string())?;
        }
        Ok(found)
    }

    /// Ends every run of this query that is under way, from any thread.
    fn cancel(&self) {
        self.runs.cancel_all();
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let (statement, _runs) = self.begin(py, &self.options)?;
        let described = statement.describe(self.options.is_merged());
        let (schema, _) = wait(py, described)?;
        *lock(&self.promised) = Some(schema.clone());
        capsule::schema(py, &schema)
    }

    /// Runs the query. What fails before the first rows have come fails here.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // To give another schema is left to the receiver, as Arrow allows.
        let _ = requested_schema;
        let rows = self.start(py)?.into_exported(py)?;
        let promised = lock(&self.promised).clone();
        // A consumer reads the memory of rows as the schema says that it asked for before.
        if promised.is_some_and(|promised| promised != rows.schema()) {
            return Err(Failure::new(
                "mismatch",
                "the columns of the query are others than when its schema was read",
                Some("make the query anew: con.sql(..)"),
            )
            .raise(py));
        }
        capsule::stream(py, rows)
    }
}

/// How the file is to be written.
fn written_as(
    path: &std::path::Path,
    format: Option<&str>,
    compression: Option<&str>,
    row_group_rows: Option<usize>,
    duplicate_columns: Option<&str>,
    csv_escape_formulas: bool,
) -> Result<(Format, ExportOptions), Error> {
    let format = match format {
        Some(format) => format.parse()?,
        None => Format::from_path(path)?,
    };
    let mut options = ExportOptions::new();
    if let Some(compression) = compression {
        options = options.with_compression(compression.parse::<Compression>()?);
    }
    if let Some(rows) = row_group_rows {
        options = options.with_row_group_rows(rows);
    }
    if let Some(duplicates) = duplicate_columns {
        options = options.with_duplicate_columns(duplicates.parse::<DuplicateColumns>()?);
    }
    if csv_escape_formulas {
        options = options.with_csv_formulas(CsvFormulas::Escape);
    }
    options.check(format)?;
    Ok((format, options))
}

/// Calls back with name, state, rows, bytes and seconds of each shard.
fn tell(py: Python<'_>, progress: Option<&Bound<'_, PyAny>>, seen: &ScanProgress) -> PyResult<()> {
    let Some(progress) = progress else {
        return Ok(());
    };
    let shards = PyList::empty(py);
    for shard in seen.shards() {
        let state = match shard.state {
            ShardState::Connecting => "connecting",
            ShardState::Describing => "describing",
            ShardState::Ready => "ready",
            ShardState::Executing => "executing",
            ShardState::Streaming => "streaming",
            ShardState::Done => "done",
            ShardState::Failed => "failed",
            _ => "waiting",
        };
        shards.append((
            shard.shard,
            state,
            shard.rows,
            shard.bytes,
            shard.elapsed.as_secs_f64(),
        ))?;
    }
    progress.call1((shards,))?;
    Ok(())
}
