//! Writes pairs in the columns of Pick-a-Pic v2, for this crate and other readers of that set.

use bytes::Bytes;
use domain::Timestamp;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::io::Write;
use std::sync::Arc;

/// Most rows of a row group.
const GROUP: usize = 64;
/// A row group ends early once its images have this many bytes.
const GROUP_BYTES: usize = 32 << 20;

/// The columns, in the published order.
const SCHEMA: &str = "message schema {
    OPTIONAL BINARY jpg_0;
    OPTIONAL BINARY jpg_1;
    OPTIONAL BOOLEAN are_different;
    OPTIONAL BINARY best_image_uid (UTF8);
    OPTIONAL BINARY caption (UTF8);
    OPTIONAL INT64 created_at (TIMESTAMP(NANOS,false));
    OPTIONAL BOOLEAN has_label;
    OPTIONAL BINARY image_0_uid (UTF8);
    OPTIONAL BINARY image_0_url (UTF8);
    OPTIONAL BINARY image_1_uid (UTF8);
    OPTIONAL BINARY image_1_url (UTF8);
    OPTIONAL DOUBLE label_0;
    OPTIONAL DOUBLE label_1;
    OPTIONAL BINARY model_0 (UTF8);
    OPTIONAL BINARY model_1 (UTF8);
    OPTIONAL INT64 ranking_id;
    OPTIONAL INT64 user_id;
    OPTIONAL INT64 num_example_per_prompt;
    OPTIONAL INT64 __index_level_0__;
}";

/// A row to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The prompt of both images.
    pub caption: String,
    /// Both images, as JPEG or PNG files.
    pub images: [Bytes; 2],
    /// Unique names of the images.
    pub uids: [String; 2],
    /// Names of the models that made the images.
    pub models: [String; 2],
    /// 1 for the winner and 0 for the loser, or 0.5 and 0.5 for a tie.
    pub labels: [f64; 2],
    /// Time of the vote.
    pub created_at: Timestamp,
    /// Number of the rater.
    pub user: i64,
}

/// Writes records into a parquet file, one row group at a time.
pub struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    waiting: Vec<Record>,
    waiting_bytes: usize,
    written: i64,
}

impl<W: Write + Send> Writer<W> {
    /// Starts a file.
    ///
    /// # Errors
    /// Fails if `into` does.
    pub fn new(into: W) -> Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder()
            // Snappy is for the texts: images are compressed already. No two images are equal, so a dictionary would
            // not help.
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
            .build();
        let file = SerializedFileWriter::new(into, schema, Arc::new(properties))?;
        Ok(Self { file, waiting: Vec::new(), waiting_bytes: 0, written: 0 })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Fails if the row group is full and cannot be written.
    pub fn write(&mut self, record: Record) -> Result<()> {
        self.waiting_bytes += record.images.iter().map(Bytes::len).sum::<usize>();
        self.waiting.push(record);
        let full = self.waiting.len() == GROUP || self.waiting_bytes >= GROUP_BYTES;
        if full { self.flush() } else { Ok(()) }
    }

    /// Writes the remaining rows and the footer, and returns the underlying writer.
    ///
    /// # Errors
    /// Fails if the underlying writer does.
    pub fn finish(mut self) -> Result<W> {
        self.flush()?;
        self.file.into_inner()
    }

    fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let mut group = self.file.next_row_group()?;
        let text = |of: &dyn Fn(&Record) -> Option<&str>| -> Vec<Option<ByteArray>> {
            records.iter().map(|r| of(r).map(ByteArray::from)).collect()
        };
        let first = self.written;
        for side in [0, 1] {
            let images = records.iter().map(|r| Some(ByteArray::from(r.images[side].clone())));
            column::<_, ByteArrayType>(&mut group, images)?;
        }
        column::<_, BoolType>(&mut group, records.iter().map(|r| Some(r.labels[0] != r.labels[1])))?;
        column::<_, ByteArrayType>(
            &mut group,
            text(&|r| match r.labels {
                [first, second] if first > second => Some(&r.uids[0]),
                [first, second] if first < second => Some(&r.uids[1]),
                _ => Some("none"),
            }),
        )?;
        column::<_, ByteArrayType>(&mut group, text(&|r| Some(&r.caption)))?;
        column::<_, Int64Type>(&mut group, records.iter().map(|r| r.created_at.timestamp_nanos_opt()))?;
        column::<_, BoolType>(&mut group, records.iter().map(|_| Some(true)))?;
        for side in [0, 1] {
            column::<_, ByteArrayType>(&mut group, text(&|r| Some(&r.uids[side])))?;
            // No URL: the images are in the file.
            column::<_, ByteArrayType>(&mut group, text(&|_| None))?;
        }
        for side in [0, 1] {
            column::<_, DoubleType>(&mut group, records.iter().map(|r| Some(r.labels[side])))?;
        }
        for side in [0, 1] {
            column::<_, ByteArrayType>(&mut group, text(&|r| Some(&r.models[side])))?;
        }
        let indices = || (first..).map(Some).take(records.len());
        column::<_, Int64Type>(&mut group, indices())?;
        column::<_, Int64Type>(&mut group, records.iter().map(|r| Some(r.user)))?;
        column::<_, Int64Type>(&mut group, records.iter().map(|_| Some(1)))?;
        column::<_, Int64Type>(&mut group, indices())?;
        group.close()?;
        self.written += records.len() as i64;
        Ok(())
    }
}

fn column<W: Write + Send, T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: impl IntoIterator<Item = Option<T::T>>,
) -> Result<()> {
    let mut column = group
        .next_column()?
        .ok_or_else(|| ParquetError::General("the schema has no further column".to_owned()))?;
    let (mut levels, mut present) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        present.extend(value);
    }
    column.typed::<T>().write_batch(&present, Some(&levels), None)?;
    column.close()
}
