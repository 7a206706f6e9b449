//! Connections: the catalog, and what statements begin with.

use std::collections::HashSet;
use std::sync::Arc;

use adbc_core::constants::{
    ADBC_OPTION_ISOLATION_LEVEL_DEFAULT, ADBC_OPTION_ISOLATION_LEVEL_READ_COMMITTED,
    ADBC_OPTION_ISOLATION_LEVEL_READ_UNCOMMITTED,
};
use adbc_core::error::{Result, Status};
use adbc_core::options::{InfoCode, ObjectDepth, OptionConnection, OptionValue};
use adbc_core::schemas::GET_STATISTIC_NAMES_SCHEMA;
use adbc_core::{CancelHandle, Optionable};
use arrow::array::{AsArray, RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow::datatypes::Schema;
use merganser::{ScanProgress, arrow};

use crate::engine::Engine;
use crate::error::{from_library, refusal};
use crate::info;
use crate::objects::{self, Filter};
use crate::options::{self, Mode, QueryOptions};
use crate::partition::Reading;
use crate::reader::Reader as Rows;
use crate::request::Request;
use crate::running::Running;
use crate::statement::Statement;

/// A view of a database's cluster with defaults of its own. It holds no socket: every execution
/// takes one connection of each shard that it needs from the pools of the database.
pub struct Connection {
    engine: Arc<Engine>,
    options: QueryOptions,
    is_autocommit: bool,
    running: Running,
}

type Reader = Box<dyn RecordBatchReader + Send + 'static>;

impl Connection {
    pub(crate) fn new(engine: Arc<Engine>, options: QueryOptions) -> Self {
        Self {
            engine,
            options,
            is_autocommit: true,
            running: Running::default(),
        }
    }

    /// What an expression is on the shards; where they differ, each value once.
    fn ask(&self, expression: &str) -> Result<Vec<String>> {
        let options = QueryOptions {
            mode: Mode::FanOut,
            timeout: self.options.timeout,
            schema: self.options.schema.clone(),
            ..QueryOptions::default()
        };
        let request = self.request(&format!("SELECT {expression}::text"), &options)?;
        let _run = self.running.begin(request.cancel_handle());
        let mut values = Vec::new();
        let mut rows = request.stream().map_err(from_library)?;
        while let Some(batch) = rows.next_batch().map_err(from_library)? {
            for value in batch.column(0).as_string::<i32>() {
                values.push(value.unwrap_or_default().to_owned());
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    fn request(&self, sql: &str, options: &QueryOptions) -> Result<Request> {
        let cluster = self.engine.get().map_err(from_library)?;
        Request::new(cluster, sql, options, &ScanProgress::new())
    }

    /// Commit and rollback alike: nothing was written.
    fn end_transaction(&self) -> Result<()> {
        match self.is_autocommit {
            true => Err(refusal(
                Status::InvalidState,
                "no transaction is open: adbc.connection.autocommit is true",
            )),
            false => Ok(()),
        }
    }

    fn text(&self, key: &OptionConnection) -> Result<String> {
        let name = key.as_ref();
        match key {
            OptionConnection::AutoCommit => Ok(self.is_autocommit.to_string()),
            OptionConnection::ReadOnly => Ok(true.to_string()),
            OptionConnection::IsolationLevel => {
                Ok(ADBC_OPTION_ISOLATION_LEVEL_READ_COMMITTED.to_owned())
            }
            OptionConnection::CurrentCatalog => Err(options::not_found(
                name,
                "shards are databases of many names, so there is no catalog",
            )),
            OptionConnection::CurrentSchema => match &self.options.schema {
                Some(schema) => Ok(schema.clone()),
                None => match &self.ask("pg_catalog.current_schema()")?[..] {
                    [schema] => Ok(schema.clone()),
                    schemas => Err(options::not_found(
                        name,
                        &format!("the shards differ: {}", schemas.join(", ")),
                    )),
                },
            },
            _ => self
                .options
                .get(name)
                .ok_or_else(|| options::not_found(name, "a connection has no such option")),
        }
    }
}

impl Optionable for Connection {
    type Option = OptionConnection;

    fn set_option(&mut self, key: OptionConnection, value: OptionValue) -> Result<()> {
        let name = key.as_ref();
        match &key {
            OptionConnection::AutoCommit => self.is_autocommit = options::boolean(name, &value)?,
            OptionConnection::ReadOnly => {
                if !options::boolean(name, &value)? {
                    return Err(refusal(
                        Status::NotImplemented,
                        "merganser only reads: adbc.connection.readonly cannot be false",
                    ));
                }
            }
            OptionConnection::IsolationLevel => match options::text(name, &value)? {
                ADBC_OPTION_ISOLATION_LEVEL_DEFAULT
                | ADBC_OPTION_ISOLATION_LEVEL_READ_COMMITTED
                | ADBC_OPTION_ISOLATION_LEVEL_READ_UNCOMMITTED => {}
                level => {
                    return Err(refusal(
                        Status::NotImplemented,
                        format!(
                            "option {name:?}: no {level:?}: shards share no snapshot, and each query \
                             sees what is committed when it begins\n\
                             hint: put what has to be consistent into one query"
                        ),
                    ));
                }
            },
            OptionConnection::CurrentCatalog => {
                if !options::text(name, &value)?.is_empty() {
                    return Err(options::invalid(
                        name,
                        "shards are databases of many names, so there is no catalog",
                    ));
                }
            }
            OptionConnection::CurrentSchema => {
                let schema = options::text(name, &value)?;
                self.options.schema = (!schema.is_empty()).then(|| schema.to_owned());
            }
            _ => {
                if !self.options.set(name, &value)? {
                    return Err(options::unknown(name, "connection", &QueryOptions::NAMES));
                }
            }
        }
        Ok(())
    }

    fn get_option_string(&self, key: OptionConnection) -> Result<String> {
        self.text(&key)
    }

    fn get_option_bytes(&self, key: OptionConnection) -> Result<Vec<u8>> {
        self.text(&key).map(String::into_bytes)
    }

    fn get_option_int(&self, key: OptionConnection) -> Result<i64> {
        options::integer_of(key.as_ref(), &self.text(&key)?)
    }

    fn get_option_double(&self, key: OptionConnection) -> Result<f64> {
        let number = options::integer_of(key.as_ref(), &self.text(&key)?)?;
        Ok(number as f64)
    }
}

impl adbc_core::Connection for Connection {
    type StatementType = Statement;

    fn new_statement(&mut self) -> Result<Statement> {
        self.engine.get().map_err(from_library)?;
        Ok(Statement::new(self.engine.clone(), self.options.clone()))
    }

    fn get_cancel_handle(&self) -> Box<dyn CancelHandle> {
        Box::new(self.running.clone())
    }

    fn get_info(&self, codes: Option<HashSet<InfoCode>>) -> Result<Reader> {
        let version = || {
            Ok(self
                .ask("pg_catalog.current_setting('server_version')")?
                .join(", "))
        };
        info::batch(codes.as_ref(), version).map(one)
    }

    fn get_objects(
        &self,
        depth: ObjectDepth,
        catalog: Option<&str>,
        db_schema: Option<&str>,
        table_name: Option<&str>,
        table_type: Option<Vec<&str>>,
        column_name: Option<&str>,
    ) -> Result<Reader> {
        let filter = Filter {
            depth,
            catalog,
            schema: db_schema,
            table: table_name,
            table_types: table_type.as_deref(),
            column: column_name,
        };
        let cluster = self.engine.get().map_err(from_library)?;
        let tables = match filter.needs_tables() {
            true => {
                let cancel = merganser::CancelHandle::default();
                let _run = self.running.begin(cancel.clone());
                // Who looks at the catalog wants to see what is there now.
                cluster.refresh().map_err(from_library)?;
                cluster.tables_until(&cancel).map_err(from_library)?
            }
            false => Vec::new(),
        };
        objects::batch(&filter, &tables).map(one)
    }

    fn get_table_schema(
        &self,
        catalog: Option<&str>,
        db_schema: Option<&str>,
        table_name: &str,
    ) -> Result<Schema> {
        if let Some(catalog) = catalog.filter(|catalog| !catalog.is_empty()) {
            return Err(refusal(
                Status::NotFound,
                format!("there is no catalog {catalog:?}: shards have none in common"),
            ));
        }
        let table = options::quoted(table_name);
        let table = match db_schema.filter(|schema| !schema.is_empty()) {
            Some(schema) => format!("{}.{table}", options::quoted(schema)),
            None => table,
        };
        let options = QueryOptions {
            merge_sql: None,
            ..self.options.clone()
        };
        let request = self.request(&format!("SELECT * FROM {table}"), &options)?;
        let _run = self.running.begin(request.cancel_handle());
        Ok(request.describe()?.as_ref().clone())
    }

    fn get_table_types(&self) -> Result<Reader> {
        objects::table_types().map(one)
    }

    fn get_statistic_names(&self) -> Result<Reader> {
        Ok(one(RecordBatch::new_empty(
            GET_STATISTIC_NAMES_SCHEMA.clone(),
        )))
    }

    fn get_statistics(
        &self,
        _catalog: Option<&str>,
        _db_schema: Option<&str>,
        _table_name: Option<&str>,
        _approximate: bool,
    ) -> Result<Reader> {
        Err(refusal(
            Status::NotImplemented,
            "merganser keeps no statistics\nhint: count in a query: SELECT count(*) FROM table",
        ))
    }

    fn commit(&mut self) -> Result<()> {
        self.end_transaction()
    }

    fn rollback(&mut self) -> Result<()> {
        self.end_transaction()
    }

    fn read_partition(&self, partition: impl AsRef<[u8]>) -> Result<Reader> {
        let cluster = self.engine.get().map_err(from_library)?;
        let reading = Reading::new(cluster, partition.as_ref(), &self.options)?;
        let run = self.running.begin(reading.cancel_handle());
        let rows = reading.stream().and_then(|rows| Rows::of(rows, run));
        Ok(Box::new(rows.map_err(from_library)?))
    }
}

/// A batch as a stream.
fn one(batch: RecordBatch) -> Reader {
    let schema = batch.schema();
    Box::new(RecordBatchIterator::new([Ok(batch)], schema))
}
