//! The peak memory of reading, counted by the allocator of this test's own process.
#![expect(unsafe_code, reason = "a counting allocator")]

use bytes::Bytes;
use datasets::rows::Pairs;
use domain::data::{DataSpec, PickAPicSpec};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller upholds the contract, which is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::SeqCst) + bytes;
    MOST.fetch_max(held, Ordering::SeqCst);
}

#[global_allocator]
static COUNTING: Counting = Counting;

const MEGABYTE: usize = 1 << 20;
/// Rows of a group and bytes of an image: two pages of 64 MB per group.
const ROWS: usize = 16;
const IMAGE: usize = 4 * MEGABYTE;

/// Incompressible bytes, apart from a run in the middle.
fn image(seed: usize) -> Bytes {
    let mut draw = seed as u64 + 1;
    let mut bytes: Vec<u8> = (0..IMAGE / 8)
        .flat_map(|_| {
            draw ^= draw << 13;
            draw ^= draw >> 7;
            draw ^= draw << 17;
            draw.to_le_bytes()
        })
        .collect();
    bytes[IMAGE / 2..][..70_000].fill(seed as u8);
    bytes.into()
}

fn column<T: DataType>(group: &mut SerializedRowGroupWriter<'_, File>, values: &[T::T]) {
    let mut column = group.next_column().expect("written").expect("a column");
    column.typed::<T>().write_batch(values, None, None).expect("written");
    column.close().expect("written");
}

/// Writes two files of one row group each, with all images of a column in one page.
fn write(folder: &Path, compression: Compression, version: WriterVersion) {
    let schema = "message schema { REQUIRED BINARY caption (UTF8); REQUIRED BINARY jpg_0; REQUIRED BINARY jpg_1; \
                  REQUIRED DOUBLE label_0; REQUIRED DOUBLE label_1; }";
    let properties = WriterProperties::builder()
        .set_writer_version(version)
        .set_compression(compression)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_size_limit(usize::MAX)
        .set_write_batch_size(ROWS)
        .build();
    for file in 0..2 {
        let schema = Arc::new(parse_message_type(schema).expect("a schema"));
        let into = File::create(folder.join(format!("train-{file}.parquet"))).expect("a file");
        let mut writer =
            SerializedFileWriter::new(into, schema, Arc::new(properties.clone())).expect("a writer");
        let mut group = writer.next_row_group().expect("a group");
        let captions: Vec<ByteArray> = (0..ROWS).map(|row| format!("prompt {row}").as_str().into()).collect();
        column::<ByteArrayType>(&mut group, &captions);
        for side in 0..2 {
            let images: Vec<ByteArray> = (0..ROWS).map(|row| image(number(file, row, side)).into()).collect();
            column::<ByteArrayType>(&mut group, &images);
        }
        column::<DoubleType>(&mut group, &[1.0; ROWS]);
        column::<DoubleType>(&mut group, &[0.0; ROWS]);
        group.close().expect("written");
        writer.close().expect("written");
    }
}

fn number(file: usize, row: usize, side: usize) -> usize {
    (file * ROWS + row) * 2 + side
}

/// Reads all pairs, slowly enough that the readers read ahead as far as they may. Returns the peak memory.
fn read(folder: &Path) -> usize {
    let spec = PickAPicSpec { folder: folder.to_string_lossy().into_owned(), ..PickAPicSpec::default() };
    let before = HELD.load(Ordering::SeqCst);
    MOST.store(before, Ordering::SeqCst);
    let mut most = 0;
    let mut rows = 0;
    for pair in Pairs::open(&DataSpec::PickAPic(spec)).expect("opens").expect("files") {
        let pair = pair.expect("a pair");
        std::thread::sleep(std::time::Duration::from_millis(5));
        // Taken before the expected images, which are this test's own memory.
        most = most.max(MOST.load(Ordering::SeqCst) - before);
        let file = usize::from(pair.source.file.contains("train-1"));
        let row = pair.source.row as usize;
        assert!(
            pair.winner == image(number(file, row, 0))
                && pair.loser.as_ref().is_some_and(|loser| *loser == image(number(file, row, 1)))
        );
        rows += 1;
        MOST.store(HELD.load(Ordering::SeqCst), Ordering::SeqCst);
    }
    assert_eq!(rows, 2 * ROWS);
    most
}

#[test]
fn reading_large_images_holds_two_pages_and_a_few_rows_per_file() {
    let pages = 2 * ROWS * IMAGE;
    for (compression, version, readers, pages) in [
        // Two files of 2 x 64 MB fit into the memory for reading.
        (Compression::SNAPPY, WriterVersion::PARQUET_1_0, 2, pages),
        (Compression::SNAPPY, WriterVersion::PARQUET_2_0, 2, pages),
        (Compression::UNCOMPRESSED, WriterVersion::PARQUET_1_0, 2, pages),
        // A page that the parquet crate decompresses is also held compressed, so only one file is read at a time.
        (Compression::ZSTD(ZstdLevel::default()), WriterVersion::PARQUET_1_0, 1, pages + pages / 2),
    ] {
        let scratch = tempfile::tempdir().expect("a folder");
        write(scratch.path(), compression, version);
        let most = read(scratch.path());
        // The current batch, the rows read ahead and the rows being returned: about 16 MB each, give or take a row.
        let bound = readers * (pages + 3 * (16 * MEGABYTE + 2 * IMAGE));
        assert!(
            most > pages && most <= bound,
            "{compression:?} {version:?}: {} of {} MB",
            most / MEGABYTE,
            bound / MEGABYTE
        );
        println!("{compression:?} {version:?}: {} MB at most", most / MEGABYTE);
    }
}
