//! Writing pairs in the columns of Pick-a-Pic v2, so that they are read like any other set.

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

/// Rows of a row group, and the bytes of images with which it ends early.
const GROUP: usize = 64;
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

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What both images were to show.
    pub caption: String,
    /// Image files.
    pub images: [Bytes; 2],
    /// Their names.
    pub uids: [String; 2],
    /// Who made them.
    pub models: [String; 2],
    /// 1 and 0, 0 and 1, or 0.5 and 0.5.
    pub labels: [f64; 2],
    /// When it was judged.
    pub created_at: Timestamp,
    /// A number for whoever judged it.
    pub user: i64,
}

/// Writes records, a row group at a time.
pub struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    waiting: Vec<Record>,
    waiting_bytes: usize,
    written: i64,
}

impl<W: Write + Send> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(into: W) -> Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder()
            // Images are packed already.
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
            .build();
        let file = SerializedFileWriter::new(into, schema, Arc::new(properties))?;
        Ok(Self { file, waiting: Vec::new(), waiting_bytes: 0, written: 0 })
    }

    /// One row more.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, record: Record) -> Result<()> {
        self.waiting_bytes += record.images.iter().map(Bytes::len).sum::<usize>();
        self.waiting.push(record);
        let full = self.waiting.len() == GROUP || self.waiting_bytes >= GROUP_BYTES;
        if full { self.flush() } else { Ok(()) }
    }

    /// Ends the file and gives back what it was written into.
    ///
    /// # Errors
    /// It cannot be written.
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
            // The images are inside; they have no address that everybody reaches.
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
        .ok_or_else(|| ParquetError::General("the schema has fewer columns".to_owned()))?;
    let (mut levels, mut there) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        there.extend(value);
    }
    column.typed::<T>().write_batch(&there, Some(&levels), None)?;
    column.close()
}
