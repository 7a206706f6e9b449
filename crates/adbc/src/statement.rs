//! Statements: SQL, its parameters and how it runs.

use std::mem;
use std::sync::Arc;

use adbc_core::error::{Error, Result, Status};
use adbc_core::options::{OptionStatement, OptionValue};
use adbc_core::{CancelHandle, Optionable, PartitionedResult};
use arrow::array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow::datatypes::Schema;
use merganser::blocking::Lease;
use merganser::{ErrorKind, ScanProgress, arrow};

use crate::engine::{Engine, OfProcess};
use crate::error::{from_library, refusal};
use crate::options::{self, QueryOptions};
use crate::parameters::{Bound, Values};
use crate::partition::{self, Whole};
use crate::reader::Reader;
use crate::request::Request;
use crate::running::{Run, Running};

/// The plan of the statement, as a text. Can only be read.
const EXPLAIN: &str = "merganser.explain";
/// Whether parameters are bound by the names of their columns.
const BIND_BY_NAME: &str = "adbc.statement.bind_by_name";

const ONLY_READS: &str = "merganser only reads: it ingests nothing\n\
    hint: write to the shards by ADBC's driver for PostgreSQL";

/// One query, with its parameters and its options. Its result, and the lease of its partitions, end when
/// it is executed again.
pub struct Statement {
    engine: Arc<Engine>,
    options: QueryOptions,
    sql: Option<String>,
    /// What is bound, until it is executed.
    bound: Option<Bound>,
    /// Of what was executed last.
    progress: ScanProgress,
    running: Running,
    /// What keeps the snapshots of the partitions that it was cut into last.
    lease: Option<OfProcess<Lease>>,
}

impl Statement {
    pub(crate) fn new(engine: Arc<Engine>, options: QueryOptions) -> Self {
        Self {
            engine,
            options,
            sql: None,
            bound: None,
            progress: ScanProgress::new(),
            running: Running::default(),
            lease: None,
        }
    }

    fn request(&self, progress: &ScanProgress) -> Result<Request> {
        let sql = self.sql.as_deref().ok_or_else(no_sql)?;
        match &self.bound {
            Some(bound) => self.request_of(&bound.cast(sql)?, progress),
            None => self.request_of(sql, progress),
        }
    }

    fn request_of(&self, sql: &str, progress: &ScanProgress) -> Result<Request> {
        let cluster = self.engine.get().map_err(from_library)?;
        Request::new(cluster, sql, &self.options, progress)
    }

    /// A request that is only asked about, with the first values that are bound; without any, NULLs
    /// stand for them.
    fn question(&self) -> Result<(Request, Run)> {
        let request = self.request(&ScanProgress::new())?;
        let run = self.running.begin(request.cancel_handle());
        let values = match self.bound.as_ref().and_then(|bound| bound.rows.first()) {
            Some(values) => values.clone(),
            None => vec![None; request.clone().parameters()?.fields().len()],
        };
        Ok((request.with_params(values), run))
    }

    /// Begins to execute what is bound; `None` where that is no row of values.
    fn start(&mut self) -> Result<Option<Reader>> {
        let progress = ScanProgress::new();
        let request = self.request(&progress)?;
        self.progress = progress;
        let rows = self.bound.take().map(|bound| bound.rows);
        let mut rows = rows.unwrap_or_else(|| vec![Values::new()]).into_iter();
        self.end_result();
        let run = self.running.begin(request.cancel_handle());
        match rows.next() {
            Some(first) => Reader::start(request, first, rows, run)
                .map(Some)
                .map_err(from_library),
            None => Ok(None),
        }
    }

    /// There is one result at a time.
    fn end_result(&mut self) {
        self.running.end();
        self.lease = None;
    }

    /// The one row of values that is bound, or none.
    fn only_values(&mut self) -> Result<Values> {
        let rows = self.bound.take().map(|bound| bound.rows);
        match rows.unwrap_or_else(|| vec![Values::new()]).as_mut_slice() {
            [values] => Ok(mem::take(values)),
            rows => Err(refusal(
                Status::InvalidState,
                format!(
                    "{} rows of values are bound, and partitions are of one execution\n\
                     hint: bind one row",
                    rows.len()
                ),
            )),
        }
    }

    fn explain(&self) -> Result<String> {
        let (request, _run) = self.question()?;
        Ok(request.explain()?.to_string())
    }

    fn text(&self, key: &OptionStatement) -> Result<String> {
        let name = key.as_ref();
        match key {
            OptionStatement::Incremental => Ok(false.to_string()),
            OptionStatement::Progress => Ok(self.rows_so_far().to_string()),
            OptionStatement::MaxProgress => Ok(UNKNOWN_END.to_string()),
            _ if name == EXPLAIN => self.explain(),
            _ if name == BIND_BY_NAME => Ok(false.to_string()),
            _ => self
                .options
                .get(name)
                .ok_or_else(|| options::not_found(name, "a statement has no such option")),
        }
    }

    /// How many rows the shards have sent.
    fn rows_so_far(&self) -> u64 {
        self.progress.shards().iter().map(|shard| shard.rows).sum()
    }
}

/// How many rows there will be is not known.
const UNKNOWN_END: u64 = 0;

impl Optionable for Statement {
    type Option = OptionStatement;

    fn set_option(&mut self, key: OptionStatement, value: OptionValue) -> Result<()> {
        let name = key.as_ref();
        match &key {
            OptionStatement::IngestMode
            | OptionStatement::TargetTable
            | OptionStatement::TargetCatalog
            | OptionStatement::TargetDbSchema
            | OptionStatement::Temporary => Err(refusal(Status::NotImplemented, ONLY_READS)),
            OptionStatement::Incremental => match options::boolean(name, &value)? {
                true => Err(refusal(
                    Status::NotImplemented,
                    "merganser gives all partitions at once",
                )),
                false => Ok(()),
            },
            OptionStatement::Progress | OptionStatement::MaxProgress => {
                Err(options::invalid(name, "it can only be read"))
            }
            _ if name == EXPLAIN => Err(options::invalid(name, "it can only be read")),
            _ if name == BIND_BY_NAME => match options::boolean(name, &value)? {
                true => Err(refusal(
                    Status::NotImplemented,
                    "PostgreSQL's parameters have numbers, no names\n\
                     hint: bind the columns in the order of $1, $2, ...",
                )),
                false => Ok(()),
            },
            _ => match self.options.set(name, &value)? {
                true => Ok(()),
                false => {
                    let mut known = QueryOptions::NAMES.to_vec();
                    known.push(EXPLAIN);
                    Err(options::unknown(name, "statement", &known))
                }
            },
        }
    }

    fn get_option_string(&self, key: OptionStatement) -> Result<String> {
        self.text(&key)
    }

    fn get_option_bytes(&self, key: OptionStatement) -> Result<Vec<u8>> {
        self.text(&key).map(String::into_bytes)
    }

    fn get_option_int(&self, key: OptionStatement) -> Result<i64> {
        options::integer_of(key.as_ref(), &self.text(&key)?)
    }

    fn get_option_double(&self, key: OptionStatement) -> Result<f64> {
        let number = options::integer_of(key.as_ref(), &self.text(&key)?)?;
        // Exact up to 2^53 rows.
        Ok(number as f64)
    }
}

impl adbc_core::Statement for Statement {
    fn bind(&mut self, batch: RecordBatch) -> Result<()> {
        let mut bound = Bound::default();
        bound.add(&batch)?;
        self.bound = Some(bound);
        Ok(())
    }

    fn bind_stream(&mut self, reader: Box<dyn RecordBatchReader + Send>) -> Result<()> {
        let mut bound = Bound::default();
        for batch in reader {
            bound.add(&batch?)?;
        }
        self.bound = Some(bound);
        Ok(())
    }

    fn execute(&mut self) -> Result<Box<dyn RecordBatchReader + Send + 'static>> {
        match self.start()? {
            Some(reader) => Ok(Box::new(reader)),
            None => {
                let schema = Arc::new(self.execute_schema()?);
                Ok(Box::new(RecordBatchIterator::new([], schema)))
            }
        }
    }

    fn execute_update(&mut self) -> Result<Option<i64>> {
        let mut count = 0;
        if let Some(mut reader) = self.start()? {
            while let Some(batch) = reader.next_batch().map_err(from_library)? {
                count += batch.num_rows();
            }
        }
        Ok(i64::try_from(count).ok())
    }

    fn execute_schema(&mut self) -> Result<Schema> {
        let (request, _run) = self.question()?;
        Ok(request.describe()?.as_ref().clone())
    }

    fn execute_partitions(&mut self) -> Result<PartitionedResult> {
        let request = self.request(&ScanProgress::new())?;
        let request = request.with_params(self.only_values()?);
        self.end_result();
        let _run = self.running.begin(request.cancel_handle());
        let cut = request.clone().partitions(&(&self.options).into());
        let (parts, schema) = match cut {
            Ok(cut) => {
                self.lease = Some(OfProcess::new(cut.lease));
                (partition::sealed(&cut.parts), cut.schema)
            }
            // Rows that are put together from those of several shards, such as those in an order, have
            // no parts.
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                let schema = request.clone().describe()?;
                let sql = request.mogrify().map_err(from_library)?;
                let cluster = self.engine.get().map_err(from_library)?;
                let whole = Whole::new(cluster.topology(), sql, &self.options);
                (vec![whole.sealed()], schema)
            }
            Err(error) => return Err(from_library(error)),
        };
        Ok(PartitionedResult {
            partitions: parts,
            schema: schema.as_ref().clone(),
            rows_affected: -1,
        })
    }

    fn get_parameter_schema(&self) -> Result<Schema> {
        let sql = self.sql.as_deref().ok_or_else(no_sql)?;
        let request = self.request_of(sql, &ScanProgress::new())?;
        let _run = self.running.begin(request.cancel_handle());
        Ok(request.parameters()?.as_ref().clone())
    }

    fn prepare(&mut self) -> Result<()> {
        // Every execution describes its SQL on a shard, so nothing would be gained before.
        self.sql.as_ref().map(|_| ()).ok_or_else(no_sql)
    }

    fn set_sql_query(&mut self, query: impl AsRef<str>) -> Result<()> {
        self.sql = Some(query.as_ref().to_owned());
        self.bound = None;
        Ok(())
    }

    fn set_substrait_plan(&mut self, _plan: impl AsRef<[u8]>) -> Result<()> {
        Err(refusal(
            Status::NotImplemented,
            "merganser reads SQL, no Substrait plans\nhint: set a SQL query",
        ))
    }

    fn get_cancel_handle(&self) -> Box<dyn CancelHandle> {
        Box::new(self.running.clone())
    }
}

fn no_sql() -> Error {
    refusal(
        Status::InvalidState,
        "the statement has no query\nhint: set a SQL query first",
    )
}
