//! One parquet file, row group by row group, a few rows at a time.

use super::column::{Column, Values, find};
use super::guard::{Guarded, LARGEST_PAGE, TOO_LARGE};
use super::label::{Label, label};
use crate::error::ReadError;
use crate::lanes::Emit;
use crate::pair::{PreferencePair, Row};
use bytes::Bytes;
use domain::dataset::{Dropped, Reason, Source};
use parquet::basic::{Compression, Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows read at a time, at most, and the bytes of images that they are meant to have.
const ROWS: u64 = 32;
const PART: u64 = 16 << 20;
/// Largest footer, in bytes: that of a file with a hundred thousand column chunks.
const LARGEST_FOOTER: u32 = 64 << 20;

/// An open file.
pub(super) struct Shard {
    path: PathBuf,
    /// Below the set's folder.
    name: String,
    file: Arc<Guarded>,
    metadata: Box<ParquetMetaData>,
    columns: Columns,
}

/// Where the columns lie. What is optional may be absent.
struct Columns {
    caption: usize,
    labels: [usize; 2],
    images: [usize; 2],
    models: [Option<usize>; 2],
    has_label: Option<usize>,
}

impl Shard {
    pub(super) fn open(folder: &Path, path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|e| ReadError::file(path, e))?;
        check_footer(path, &file)?;
        let metadata = guarded(|| ParquetMetaDataReader::new().parse_and_finish(&file))
            .map_err(|problem| ReadError::format(path, format!("is no whole parquet file ({problem})")))?;
        let columns = Columns::find(path, &metadata)?;
        let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
        let file = Arc::new(Guarded::new(file).map_err(|e| ReadError::file(path, e))?);
        Ok(Self { path: path.to_owned(), name, file, metadata: Box::new(metadata), columns })
    }

    /// Rows, as the footer has it.
    pub(super) fn rows(&self) -> u64 {
        let groups = self.metadata.row_groups().iter();
        groups.map(rows_of).fold(0, u64::saturating_add)
    }

    /// Bytes that reading takes at most, as the footer has it: of one row group both columns of images, one of them
    /// packed where it is not unpacked as it is read, and the rows at hand.
    pub(super) fn memory(&self) -> u64 {
        let size = |bytes: i64| u64::try_from(bytes).unwrap_or(0).min(2 * LARGEST_PAGE as u64);
        let groups = self.metadata.row_groups().iter();
        let sizes = groups.map(|group| {
            let chunks = self.columns.images.map(|index| group.column(index));
            let unpacked: u64 = chunks.iter().map(|chunk| size(chunk.uncompressed_size())).sum();
            let held = chunks.iter().filter(|chunk| !is_streamed(chunk));
            let packed = held.map(|chunk| size(chunk.compressed_size())).max();
            unpacked + packed.unwrap_or(0) + PART.max(unpacked / rows_of(group).max(1))
        });
        sizes.max().unwrap_or(0)
    }

    /// Gives every row away.
    pub(super) fn read(&self, only_models: &[String], emit: &mut Emit<'_>) -> Result<(), ReadError> {
        let mut first = 0;
        for group in 0..self.metadata.num_row_groups() {
            let rows = rows_of(self.metadata.row_group(group));
            let mut done = 0;
            let ended = guarded(|| self.read_group(group, first, only_models, &mut done, emit));
            match ended {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(problem) if problem.contains(TOO_LARGE) => {
                    let problem = format!(
                        "row group {group} has {problem}: write the file with smaller row groups, if it is sound"
                    );
                    return Err(ReadError::format(&self.path, problem));
                }
                Err(problem) => {
                    let missing = rows.saturating_sub(done);
                    let reason =
                        if problem.contains(WRONG_TYPE) { Reason::WrongType } else { Reason::Unreadable };
                    let source = Source { file: self.name.clone(), row: first + done };
                    let dropped = Dropped { reason, source, rows: missing, detail: problem };
                    if missing > 0 && emit(Row::Dropped(dropped)).is_break() {
                        return Ok(());
                    }
                }
            }
            first += rows;
        }
        Ok(())
    }

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
        let unpacked = self.columns.images.map(|index| group.column(index).uncompressed_size());
        let per_row =
            unpacked.iter().map(|&size| u64::try_from(size).unwrap_or(0)).sum::<u64>() / rows.max(1);
        let at_a_time = (PART / per_row.max(1)).clamp(1, ROWS);
        let open = |index: usize| Column::open(&self.file, group, index);
        let open_if = |index: Option<usize>| index.map(open).transpose();
        let c = &self.columns;
        let mut caption = open(c.caption)?;
        let mut labels = [open(c.labels[0])?, open(c.labels[1])?];
        let mut images = [open(c.images[0])?, open(c.images[1])?];
        // Otherwise both would be held packed, too.
        let side_by_side = c.images.iter().all(|&index| is_streamed(group.column(index)));
        let mut models = [open_if(c.models[0])?, open_if(c.models[1])?];
        let mut has_label = open_if(c.has_label)?;
        while *done < rows {
            let count = at_a_time.min(rows - *done) as usize;
            let part = Part {
                captions: bytes(&mut caption, "caption", count)?,
                labels: [
                    numbers(&mut labels[0], "label_0", count)?,
                    numbers(&mut labels[1], "label_1", count)?,
                ],
                images: both(&mut images, count, side_by_side)?,
                models: [
                    models[0].as_mut().map(|m| bytes(m, "model_0", count)).transpose()?,
                    models[1].as_mut().map(|m| bytes(m, "model_1", count)).transpose()?,
                ],
                has_label: has_label.as_mut().map(|h| flags(h, "has_label", count)).transpose()?,
            };
            for index in 0..count {
                let source = Source { file: self.name.clone(), row: first + *done };
                *done += 1;
                if emit(part.row(index, only_models, source)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Whether the packed bytes of a column's pages are never held beside the unpacked ones.
fn is_streamed(chunk: &ColumnChunkMetaData) -> bool {
    matches!(chunk.compression(), Compression::SNAPPY | Compression::UNCOMPRESSED)
}

/// Both columns of images, which are nearly all of a file; side by side, each by a thread of its own.
fn both(
    [first, second]: &mut [Column; 2],
    count: usize,
    side_by_side: bool,
) -> ParquetResult<[Vec<Option<Bytes>>; 2]> {
    let mut first = || bytes(first, "jpg_0", count);
    let mut second = || bytes(second, "jpg_1", count);
    if !side_by_side {
        return Ok([first()?, second()?]);
    }
    std::thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        Ok([first.join().unwrap_or_else(|panic| resume_unwind(panic))?, second?])
    })
}

/// Rows of a group; a negative number is none.
fn rows_of(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

/// Some rows, column by column.
struct Part {
    captions: Vec<Option<Bytes>>,
    labels: [Vec<Option<f64>>; 2],
    images: [Vec<Option<Bytes>>; 2],
    models: [Option<Vec<Option<Bytes>>>; 2],
    has_label: Option<Vec<Option<bool>>>,
}

impl Part {
    fn row(&self, i: usize, only_models: &[String], source: Source) -> Row {
        let has_label = self.has_label.as_ref().and_then(|flags| flags[i]);
        let second_wins = match label(has_label, [self.labels[0][i], self.labels[1][i]]) {
            Label::First => false,
            Label::Second => true,
            Label::None(reason, detail) => return Row::dropped(reason, source, detail),
        };
        let prompt = match self.captions[i].as_deref().map(std::str::from_utf8) {
            Some(Ok(prompt)) if !prompt.trim().is_empty() => prompt.to_owned(),
            Some(Err(_)) => return Row::dropped(Reason::NoPrompt, source, "the caption is no UTF-8"),
            _ => return Row::dropped(Reason::NoPrompt, source, "the caption is null or empty"),
        };
        let [first, second] = [0, 1].map(|side| {
            let models = self.models[side].as_ref()?;
            models[i].as_deref().map(|name| String::from_utf8_lossy(name).into_owned())
        });
        let wanted = |model: &Option<String>| {
            let model = model.as_deref().unwrap_or_default().to_lowercase();
            only_models.iter().any(|word| model.contains(word))
        };
        if !only_models.is_empty() && (!wanted(&first) || !wanted(&second)) {
            let by = |model: Option<String>| model.unwrap_or_else(|| "nobody".to_owned());
            let detail = format!("is by {} and {}", by(first), by(second));
            return Row::dropped(Reason::OtherModel, source, detail);
        }
        let image = |side: usize| self.images[side][i].clone().filter(|bytes| !bytes.is_empty());
        let (Some(first_image), Some(second_image)) = (image(0), image(1)) else {
            return Row::dropped(Reason::MissingImage, source, "jpg_0 or jpg_1 is null or empty");
        };
        let (winner, loser, models) = match second_wins {
            false => (first_image, second_image, [first, second]),
            true => (second_image, first_image, [second, first]),
        };
        Row::Pair(PreferencePair { prompt, winner, loser, models, source })
    }
}

impl Columns {
    fn find(path: &Path, metadata: &ParquetMetaData) -> Result<Self, ReadError> {
        let schema = metadata.file_metadata().schema_descr();
        let place = |name: &str| find(schema, name);
        if place("jpg_0").is_none() && place("image_0_url").is_some() {
            let problem = "has addresses of images but no images (columns image_0_url without jpg_0): this is the \
                           no-images variant; use the one with images, whose files have jpg_0 and jpg_1";
            return Err(ReadError::format(path, problem));
        }
        let needed = |name: &str| {
            place(name).ok_or_else(|| {
                let there: Vec<&str> = schema.columns().iter().map(|c| c.name()).collect();
                let problem =
                    format!("has no column {name}, as Pick-a-Pic's files have; it has {}", there.join(", "));
                ReadError::format(path, problem)
            })
        };
        Ok(Self {
            caption: needed("caption")?,
            labels: [needed("label_0")?, needed("label_1")?],
            images: [needed("jpg_0")?, needed("jpg_1")?],
            models: [place("model_0"), place("model_1")],
            has_label: place("has_label"),
        })
    }
}

/// What the error of a column of another type begins with.
const WRONG_TYPE: &str = "the wrong type";

fn wrong_type<T>(name: &str, kind: Type) -> ParquetResult<T> {
    Err(ParquetError::General(format!("column {name} has {WRONG_TYPE}: it should hold {kind}")))
}

fn of_count<T>(name: &str, values: Vec<T>, count: usize) -> ParquetResult<Vec<T>> {
    if values.len() == count {
        return Ok(values);
    }
    let problem = format!("column {name} ends after {} of {count} rows", values.len());
    Err(ParquetError::General(problem))
}

fn bytes(column: &mut Column, name: &str, count: usize) -> ParquetResult<Vec<Option<Bytes>>> {
    match column.read(count)? {
        Values::Bytes(values) => of_count(name, values, count),
        _ => wrong_type(name, Type::BYTE_ARRAY),
    }
}

fn numbers(column: &mut Column, name: &str, count: usize) -> ParquetResult<Vec<Option<f64>>> {
    match column.read(count)? {
        Values::Numbers(values) => of_count(name, values, count),
        _ => wrong_type(name, Type::DOUBLE),
    }
}

fn flags(column: &mut Column, name: &str, count: usize) -> ParquetResult<Vec<Option<bool>>> {
    match column.read(count)? {
        Values::Flags(values) => of_count(name, values, count),
        _ => wrong_type(name, Type::BOOLEAN),
    }
}

/// The reader's errors in words. Where a file makes no sense at all it may panic instead, which must not end a run.
fn guarded<T>(read: impl FnOnce() -> ParquetResult<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("its bytes contradict each other".to_owned()),
    }
}

/// The footer is read whole, so its claimed length is weighed first.
fn check_footer(path: &Path, file: &File) -> Result<(), ReadError> {
    let refuse = |problem: &str| {
        Err(ReadError::format(
            path,
            format!("is no whole parquet file ({problem}): copy or download it again"),
        ))
    };
    let length = file.metadata().map_err(|e| ReadError::file(path, e))?.len();
    if length < 12 {
        return refuse("it is too short");
    }
    let mut tail = [0; 8];
    file.read_exact_at(&mut tail, length - 8).map_err(|e| ReadError::file(path, e))?;
    let [a, b, c, d, magic @ ..] = tail;
    if magic != *b"PAR1" {
        return refuse("its end is missing");
    }
    let footer = u32::from_le_bytes([a, b, c, d]);
    if footer > LARGEST_FOOTER || u64::from(footer) + 12 > length {
        return refuse("its footer is longer than it can be");
    }
    Ok(())
}
