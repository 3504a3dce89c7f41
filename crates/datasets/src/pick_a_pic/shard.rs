//! One parquet file, read row group by row group and a few rows at a time.

use super::batch::{OpenColumns, WrongType};
use super::bounded_file::BoundedFile;
use super::column::{Column, find};
use super::page_codec::PageCodec;
use super::page_header::{LARGEST_PAGE, PageTooLarge};
use crate::error::ReadError;
use crate::pair::Row;
use crate::parallel_reader::Emit;
use domain::dataset::{Dropped, Reason, Source};
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use std::error::Error;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most rows read at a time.
const BATCH_ROWS: u64 = 32;
/// Bytes of images that are read at a time, unless a single row has more.
const BATCH_BYTES: u64 = 16 << 20;
/// Largest accepted footer, in bytes: enough for a hundred thousand column chunks.
const LARGEST_FOOTER: u32 = 64 << 20;

/// An open file.
pub(super) struct Shard {
    path: PathBuf,
    /// The path below the folder of the set, for reports.
    name: String,
    file: Arc<BoundedFile>,
    metadata: Box<ParquetMetaData>,
    columns: Columns,
}

/// Indices of the columns. Optional columns may be absent.
struct Columns {
    caption: usize,
    labels: [usize; 2],
    images: [usize; 2],
    models: [Option<usize>; 2],
    has_label: Option<usize>,
}

/// Why a row group cannot be read to its end.
enum GroupError {
    PageTooLarge(String),
    WrongType(String),
    Unreadable(String),
}

impl Shard {
    pub(super) fn open(folder: &Path, path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|e| ReadError::file(path, e))?;
        check_footer(path, &file)?;
        let metadata = catch_panics(|| ParquetMetaDataReader::new().parse_and_finish(&file))
            .map_err(|e| incomplete(path, &e.into_text()))?;
        let columns = Columns::find(path, &metadata)?;
        let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
        let file = Arc::new(BoundedFile::new(file).map_err(|e| ReadError::file(path, e))?);
        Ok(Self { path: path.to_owned(), name, file, metadata: Box::new(metadata), columns })
    }

    /// The number of rows by the footer.
    pub(super) fn rows(&self) -> u64 {
        let groups = self.metadata.row_groups().iter();
        groups.map(rows_of).fold(0, u64::saturating_add)
    }

    /// The most bytes that reading takes, by the footer: the pages of both image columns of one row group, the
    /// compressed bytes of one of them unless they are decompressed while reading, and the rows of a batch.
    pub(super) fn memory(&self) -> u64 {
        let size = |bytes: i64| u64::try_from(bytes).unwrap_or(0).min(2 * LARGEST_PAGE);
        let groups = self.metadata.row_groups().iter();
        let sizes = groups.map(|group| {
            let chunks = self.columns.images.map(|index| group.column(index));
            let pages: u64 = chunks.iter().map(|chunk| size(chunk.uncompressed_size())).sum();
            let held = chunks.iter().filter(|chunk| !is_streamed(chunk));
            let compressed = held.map(|chunk| size(chunk.compressed_size())).max();
            pages + compressed.unwrap_or(0) + BATCH_BYTES.max(pages / rows_of(group).max(1))
        });
        sizes.max().unwrap_or(0)
    }

    /// Emits every row. The rest of a row group that cannot be read is emitted as dropped rows.
    ///
    /// # Errors
    /// Fails if a page is too large.
    pub(super) fn read(&self, only_models: &[String], emit: &mut Emit<'_>) -> Result<(), ReadError> {
        let mut first = 0;
        for group in 0..self.metadata.num_row_groups() {
            let rows = rows_of(self.metadata.row_group(group));
            let mut done = 0;
            let ended = catch_panics(|| self.read_group(group, first, only_models, &mut done, emit));
            let (reason, detail) = match ended {
                Ok(ControlFlow::Continue(())) => {
                    first += rows;
                    continue;
                }
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(GroupError::PageTooLarge(problem)) => {
                    let problem = format!(
                        "row group {} has {problem}: write the file with smaller row groups",
                        group + 1
                    );
                    return Err(ReadError::format(&self.path, problem));
                }
                Err(GroupError::WrongType(problem)) => (Reason::WrongType, problem),
                Err(GroupError::Unreadable(problem)) => (Reason::Unreadable, problem),
            };
            let missing = rows.saturating_sub(done);
            let source = Source { file: self.name.clone(), row: first + done };
            let dropped = Dropped { reason, source, rows: missing, detail };
            if missing > 0 && emit(Row::Dropped(dropped)).is_break() {
                return Ok(());
            }
            first += rows;
        }
        Ok(())
    }

    /// Emits the rows of a group. `first` is the number of its first row in the file; `done` counts the emitted rows.
    fn read_group(
        &self,
        group: usize,
        first: u64,
        only_models: &[String],
        done: &mut u64,
        emit: &mut Emit<'_>,
    ) -> ParquetResult<ControlFlow<()>> {
        let group = self.metadata.row_group(group);
        let rows = rows_of(group);
        let sizes = self.columns.images.map(|index| group.column(index).uncompressed_size());
        let bytes_per_row =
            sizes.iter().map(|&size| u64::try_from(size).unwrap_or(0)).sum::<u64>() / rows.max(1);
        let batch_rows = (BATCH_BYTES / bytes_per_row.max(1)).clamp(1, BATCH_ROWS);
        let mut columns = self.open_columns(group)?;
        while *done < rows {
            let count = batch_rows.min(rows - *done) as usize;
            let batch = columns.read(count)?;
            for index in 0..count {
                let source = Source { file: self.name.clone(), row: first + *done };
                *done += 1;
                if emit(batch.row(index, only_models, source)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn open_columns(&self, group: &RowGroupMetaData) -> ParquetResult<OpenColumns> {
        let open = |index: usize| Column::open(&self.file, group, index);
        let open_if = |index: Option<usize>| index.map(open).transpose();
        let columns = &self.columns;
        Ok(OpenColumns {
            caption: open(columns.caption)?,
            labels: [open(columns.labels[0])?, open(columns.labels[1])?],
            images: [open(columns.images[0])?, open(columns.images[1])?],
            models: [open_if(columns.models[0])?, open_if(columns.models[1])?],
            has_label: open_if(columns.has_label)?,
            // Otherwise the compressed pages of both columns would be held at the same time.
            parallel_images: columns.images.iter().all(|&index| is_streamed(group.column(index))),
        })
    }
}

/// Whether the compressed bytes of a column's pages are never held beside the decompressed ones.
fn is_streamed(chunk: &ColumnChunkMetaData) -> bool {
    match PageCodec::of(chunk.compression()) {
        Some(codec) => codec.is_streamed(),
        None => chunk.compression() == Compression::UNCOMPRESSED,
    }
}

/// The number of rows of a group; 0 if the file states a negative one.
fn rows_of(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

impl Columns {
    fn find(path: &Path, metadata: &ParquetMetaData) -> Result<Self, ReadError> {
        let schema = metadata.file_metadata().schema_descr();
        let index = |name: &str| find(schema, name);
        if index("jpg_0").is_none() && index("image_0_url").is_some() {
            let problem = "has URLs of images but no images (columns image_0_url without jpg_0): this is the \
                           no-images variant; use the one with images, whose files have jpg_0 and jpg_1";
            return Err(ReadError::format(path, problem));
        }
        let needed = |name: &str| {
            index(name).ok_or_else(|| {
                let names: Vec<&str> = schema.columns().iter().map(|c| c.name()).collect();
                let problem = format!(
                    "has no column {name}, so it is not a file of Pick-a-Pic; its columns are {}",
                    names.join(", ")
                );
                ReadError::format(path, problem)
            })
        };
        Ok(Self {
            caption: needed("caption")?,
            labels: [needed("label_0")?, needed("label_1")?],
            images: [needed("jpg_0")?, needed("jpg_1")?],
            models: [index("model_0"), index("model_1")],
            has_label: index("has_label"),
        })
    }
}

/// Runs the parquet crate on an untrusted file, on which it may panic.
fn catch_panics<T>(read: impl FnOnce() -> ParquetResult<T>) -> Result<T, GroupError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(GroupError::from),
        Err(_) => Err(GroupError::Unreadable("its content contradicts itself".to_owned())),
    }
}

impl From<ParquetError> for GroupError {
    fn from(error: ParquetError) -> Self {
        let source = match &error {
            ParquetError::External(source) => source,
            ParquetError::General(problem) => return Self::Unreadable(problem.clone()),
            other => return Self::Unreadable(other.to_string()),
        };
        // The reader of page headers returns its errors as I/O errors.
        let source = match source.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => inner as &(dyn Error + 'static),
            None => source.as_ref(),
        };
        match source {
            source if source.is::<PageTooLarge>() => Self::PageTooLarge(source.to_string()),
            source if source.is::<WrongType>() => Self::WrongType(source.to_string()),
            source => Self::Unreadable(source.to_string()),
        }
    }
}

impl GroupError {
    fn into_text(self) -> String {
        match self {
            Self::PageTooLarge(problem) | Self::WrongType(problem) | Self::Unreadable(problem) => problem,
        }
    }
}

fn incomplete(path: &Path, problem: &str) -> ReadError {
    ReadError::format(path, format!("is not a complete parquet file ({problem}): copy or download it again"))
}

/// Checks the length of the footer, for which the parquet crate allocates memory.
fn check_footer(path: &Path, file: &File) -> Result<(), ReadError> {
    let length = file.metadata().map_err(|e| ReadError::file(path, e))?.len();
    if length < 12 {
        return Err(incomplete(path, "it is too short"));
    }
    let mut tail = [0; 8];
    file.read_exact_at(&mut tail, length - 8).map_err(|e| ReadError::file(path, e))?;
    let [a, b, c, d, magic @ ..] = tail;
    if magic != *b"PAR1" {
        return Err(incomplete(path, "its end is missing"));
    }
    let footer = u32::from_le_bytes([a, b, c, d]);
    if footer > LARGEST_FOOTER || u64::from(footer) + 12 > length {
        return Err(incomplete(path, "its footer is longer than the file or than is accepted"));
    }
    Ok(())
}
