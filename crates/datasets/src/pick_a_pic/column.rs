//! Reads one column of a row group as optional values.

use super::bounded_file::BoundedFile;
use super::page_codec::PageCodec;
use bytes::Bytes;
use parquet::basic::{Compression, Type};
use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Debug)]
pub(super) enum Values {
    Bytes(Vec<Option<Bytes>>),
    Numbers(Vec<Option<f64>>),
    Flags(Vec<Option<bool>>),
}

/// A column of a row group.
pub(super) struct Column {
    reader: ColumnReader,
    /// The definition level of a value that is not null.
    present: i16,
}

/// Finds a column by name. The `datasets` package nests the bytes of images one level deeper, in the field `bytes`.
pub(super) fn find(schema: &SchemaDescriptor, name: &str) -> Option<usize> {
    let deeper = format!("{name}.bytes");
    schema.columns().iter().position(|column| {
        let path = column.path().string();
        path == name || path == deeper
    })
}

impl Column {
    pub(super) fn open(file: &Arc<BoundedFile>, group: &RowGroupMetaData, index: usize) -> Result<Self> {
        let mut chunk = Cow::Borrowed(group.column(index));
        let description: ColumnDescPtr = chunk.column_descr_ptr();
        let refused = |problem: String| {
            let name = description.path().string();
            Err(ParquetError::General(format!("column {name} {problem}")))
        };
        let mut file = Arc::clone(file);
        match (PageCodec::of(chunk.compression()), chunk.compression()) {
            (Some(codec), _) => {
                // The file decompresses the pages, so the reader must treat the column as uncompressed.
                file = Arc::new(file.decompressing(codec));
                let plain = chunk.into_owned().into_builder().set_compression(Compression::UNCOMPRESSED);
                chunk = Cow::Owned(plain.build()?);
            }
            (None, Compression::UNCOMPRESSED | Compression::ZSTD(_)) => {}
            (None, other) => {
                let name = format!("{other:?}").split('(').next().unwrap_or_default().to_lowercase();
                return refused(format!(
                    "is compressed with {name}, which is not read: write the file with zstd or snappy"
                ));
            }
        }
        if description.max_rep_level() > 0 {
            return refused("is a list, and must hold one value per row".to_owned());
        }
        let kind = description.physical_type();
        if matches!(kind, Type::INT96 | Type::FIXED_LEN_BYTE_ARRAY) {
            return refused(format!("has the type {kind}, which no column of Pick-a-Pic has"));
        }
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let pages: Box<dyn PageReader> = Box::new(SerializedPageReader::new(file, &chunk, rows, None)?);
        let present = description.max_def_level();
        Ok(Self { reader: get_column_reader(description, pages), present })
    }

    /// Reads at most `count` more values.
    pub(super) fn read(&mut self, count: usize) -> Result<Values> {
        let present = self.present;
        Ok(match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(r) => Values::Bytes(records(r, present, count, bytes)?),
            ColumnReader::DoubleColumnReader(r) => Values::Numbers(records(r, present, count, |v| v)?),
            ColumnReader::FloatColumnReader(r) => Values::Numbers(records(r, present, count, f64::from)?),
            ColumnReader::Int32ColumnReader(r) => Values::Numbers(records(r, present, count, f64::from)?),
            ColumnReader::Int64ColumnReader(r) => Values::Numbers(records(r, present, count, |v| v as f64)?),
            ColumnReader::BoolColumnReader(r) => Values::Flags(records(r, present, count, |v| v)?),
            ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                return Err(ParquetError::General(
                    "the column has a type that no column of Pick-a-Pic has".to_owned(),
                ));
            }
        })
    }
}

fn bytes(value: ByteArray) -> Bytes {
    Bytes::copy_from_slice(value.data())
}

fn records<T: DataType, V: Clone>(
    reader: &mut ColumnReaderImpl<T>,
    present: i16,
    count: usize,
    convert: impl Fn(T::T) -> V,
) -> Result<Vec<Option<V>>> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let with_levels = (present > 0).then_some(&mut levels);
    let (rows, ..) = reader.read_records(count, with_levels, None, &mut values)?;
    let mut values = values.into_iter().map(convert);
    if present == 0 {
        return Ok(values.map(Some).collect());
    }
    if levels.len() != rows {
        return Err(ParquetError::General("a column has more or fewer levels than rows".to_owned()));
    }
    levels
        .into_iter()
        .map(|level| match level == present {
            false => Ok(None),
            true => {
                values.next().map(Some).ok_or_else(|| ParquetError::General("a value is missing".to_owned()))
            }
        })
        .collect()
}
