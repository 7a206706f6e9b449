//! The operator that turns descriptors into Parquet files: the work of an export.
//!
//! It gives one row for each file, which says what the manifest lists. Only the client writes the manifest,
//! last, from the rows of a job that has succeeded: what an attempt left that did not come to its end, or
//! that was made twice, is not in it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::stream::TryStreamExt;
use merganser::export::{Folder, Format, ManifestFile};
use merganser::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::descriptors::{self, Sealed};
use crate::failure::to_engine;
use crate::read::{self, Reader};

/// A file that an executor has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Which part of the query it holds, from 0.
    pub number: u32,
    /// The name of the executor.
    pub executor: String,
    /// How long it took.
    pub milliseconds: u64,
    /// What the manifest says of it.
    pub file: ManifestFile,
}

/// Writes the rows of each part that its input describes into a Parquet file of its own in a folder that
/// all executors, and the client, see under one path.
#[derive(Clone)]
pub struct PartFileExec {
    input: Arc<dyn ExecutionPlan>,
    folder: PathBuf,
    reader: Option<Arc<Reader>>,
    properties: Arc<PlanProperties>,
}

impl PartFileExec {
    /// Files in a folder that is there.
    ///
    /// # Errors
    /// Where the input gives no descriptors.
    pub fn try_new(
        input: Arc<dyn ExecutionPlan>,
        folder: PathBuf,
        reader: Option<Arc<Reader>>,
    ) -> Result<Self> {
        if !descriptors::are_given_by(input.as_ref()) {
            return internal_err!("{NAME} above {}, which gives no descriptors", input.name());
        }
        Ok(Self {
            properties: read::properties(&input, schema()),
            input,
            folder,
            reader,
        })
    }

    /// Where the files are written.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The files that the rows of a [`PartFileExec`] tell of.
///
/// # Errors
/// For rows of something else.
pub fn written(batch: &RecordBatch) -> Result<Vec<Written>> {
    if *batch.schema() != *schema() {
        return internal_err!("these are no files: {}", batch.schema());
    }
    let rows = batch.column(0).as_string::<i32>().iter();
    rows.map(|row| match serde_json::from_str(row.unwrap_or_default()) {
        Ok(written) => Ok(written),
        Err(error) => internal_err!("this is no file: {error}"),
    })
    .collect()
}

const NAME: &str = "PartFileExec";

fn schema() -> SchemaRef {
    let field = Field::new("file", DataType::Utf8, false);
    Arc::new(Schema::new(vec![field]))
}

impl DisplayAs for PartFileExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}: folder={:?}", self.folder)
    }
}

impl fmt::Debug for PartFileExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for PartFileExec {
    fn name(&self) -> &str {
        NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// As of [`ShardReadExec`](crate::read::ShardReadExec).
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = read::only(NAME, children)?;
        let files = Self::try_new(input, self.folder.clone(), self.reader.clone())?;
        Ok(Arc::new(files))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mode = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, mode)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let reader = read::reader_of(NAME, self.reader.as_ref())?;
        let folder: Arc<Path> = self.folder.as_path().into();
        let rows = read::sealed(&self.input, partition, context)?.and_then(move |sealed| {
            let (reader, folder) = (Arc::clone(&reader), Arc::clone(&folder));
            async move {
                let written = write(&reader, &folder, sealed).await;
                row(&written.map_err(to_engine)?)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), rows)))
    }
}

/// Writes one part. Dropping the future leaves no file, and cancels the query on the shard.
async fn write(reader: &Reader, folder: &Path, sealed: Sealed) -> Result<Written, Error> {
    let began = Instant::now();
    if !folder.is_dir() {
        return Err(Error::new(
            ErrorKind::Export,
            format!(
                "the folder {folder:?} is not there on the executor {:?}",
                reader.name()
            ),
        )
        .with_hint(
            "export to a file system that the client and all executors have under the same path",
        ));
    }
    let part = reader.unseal(&sealed)?;
    let rows = reader.read(&part).await?;
    // Another attempt writes another file: neither can hurt the other.
    let name = format!("part-{:05}-{}", sealed.number, Uuid::new_v4());
    let folder = Folder::new(folder, Format::Parquet);
    let file = folder.write_file(rows, part.shard(), &name).await?;
    Ok(Written {
        number: sealed.number,
        executor: reader.name().to_owned(),
        milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        file,
    })
}

fn row(written: &Written) -> Result<RecordBatch> {
    match serde_json::to_string(written) {
        Ok(text) => {
            let texts = Arc::new(StringArray::from(vec![text]));
            Ok(RecordBatch::try_new(schema(), vec![texts])?)
        }
        Err(error) => internal_err!("a file cannot be told of: {error}"),
    }
}
