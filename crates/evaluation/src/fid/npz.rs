//! Statistics in numpy's archive of arrays (`mu`, `sigma`), as pytorch-fid reads and writes it.
//!
//! A `.npz` is a zip archive of `.npy` files: a magic number, a header that is a Python literal, and the numbers
//! (numpy.lib.format). Only what such statistics are is read: f4 or f8, either byte order, rows or columns first.

use super::{FidError, Statistics};
use files::write_atomically;
use flate2::read::DeflateDecoder;
use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

const MAGIC: &[u8] = b"\x93NUMPY";
/// No network's features are so many.
const WIDEST: usize = 16_384;

/// An array of one or two dimensions, the last running fastest.
struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// Reads `mu` and `sigma`.
///
/// # Errors
/// A file that is not such an archive.
pub fn read_statistics(file: &Path) -> Result<Statistics, FidError> {
    let problem = |problem: String| FidError::file(file, problem);
    let opened = File::open(file).map_err(|e| problem(e.to_string()))?;
    let mut archive = ZipArchive::new(opened).map_err(|e| {
        problem(format!("is no .npz file ({e}): make it with pytorch-fid --save-stats or --save-statistics"))
    })?;
    let mut array = |name: &str| read_array(&mut archive, name).map_err(problem);
    let (mean, sigma) = (array("mu")?, array("sigma")?);
    let width = mean.values.len();
    if mean.shape.len() != 1 || sigma.shape != [width, width] {
        return Err(problem(format!(
            "has mu of shape {:?} and sigma of shape {:?}: a vector and a square of its width are needed",
            mean.shape, sigma.shape
        )));
    }
    if mean.values.iter().chain(&sigma.values).any(|v| !v.is_finite()) {
        return Err(problem("holds values that are no finite numbers".to_owned()));
    }
    Ok(Statistics::given(mean.values, sigma.values))
}

/// Writes `mu` and `sigma`, all or nothing.
///
/// # Errors
/// The file cannot be written.
pub fn write_statistics(statistics: &Statistics, file: &Path) -> Result<(), FidError> {
    let width = statistics.width();
    let arrays = [
        ("mu.npy", format!("({width},)"), &statistics.mean),
        ("sigma.npy", format!("({width}, {width})"), &statistics.covariance),
    ];
    let archive = || -> std::io::Result<Vec<u8>> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, shape, values) in arrays {
            // As they are: doubles of measurements hardly compress.
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            archive.start_file(name, options)?;
            archive.write_all(&header(&shape))?;
            archive.write_all(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        Ok(archive.finish()?.into_inner())
    };
    let archive = archive().map_err(|e| FidError::file(file, e))?;
    Ok(write_atomically(file, &archive).map_err(diffusion::Error::from)?)
}

/// Of little-endian doubles, rows first; padded so that the numbers begin at a multiple of 64.
fn header(shape: &str) -> Vec<u8> {
    let mut text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
    let length = (MAGIC.len() + 4 + text.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    text.extend(std::iter::repeat_n(' ', length - text.len() - 1));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(text.into_bytes());
    bytes
}

fn read_array(archive: &mut ZipArchive<File>, name: &str) -> Result<Array, String> {
    let file_name = format!("{name}.npy");
    let Some(index) = archive.index_for_name(&file_name) else {
        return Err(format!("has no array {name:?}: mu and sigma are needed"));
    };
    // The zip library is here without a decompressor of its own (candle shares it), so members come as they are stored.
    let member = archive.by_index_raw(index).map_err(|e| format!("has a broken array {name:?} ({e})"))?;
    let largest = (WIDEST * WIDEST * 8 + 4096) as u64;
    let reader: Box<dyn Read> = match member.compression() {
        CompressionMethod::Stored => Box::new(member),
        _ if member.encrypted() => return Err(format!("has an encrypted array {name:?}")),
        // The only method besides Stored that numpy writes.
        _ => Box::new(DeflateDecoder::new(member)),
    };
    parse(reader.take(largest)).map_err(|problem| format!("has an array {name:?} that {problem}"))
}

/// Reads what numpy wrote.
fn parse(mut reader: impl Read) -> Result<Array, String> {
    let broken = |e: std::io::Error| format!("is cut short or damaged ({e})");
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(broken)?;
    if !start.starts_with(MAGIC) {
        return Err("is not of numpy".to_owned());
    }
    let mut length = [0; 4];
    // Version 1 has a length of two bytes, 2 and 3 of four.
    let size = if start[6] == 1 { 2 } else { 4 };
    reader.read_exact(&mut length[..size]).map_err(broken)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > 65_536 {
        return Err(format!("has a header of {length} bytes"));
    }
    let mut header = vec![0; length];
    reader.read_exact(&mut header).map_err(broken)?;
    let header = String::from_utf8_lossy(&header).into_owned();
    let unknown = || format!("has a header that is not understood: {:?}", header.trim());
    let kind = after(&header, "'descr':").and_then(|text| text.split('\'').nth(1)).ok_or_else(unknown)?;
    let columns_first = after(&header, "'fortran_order':").ok_or_else(unknown)?.starts_with("True");
    let shape = after(&header, "'shape':")
        .and_then(|text| text.strip_prefix('(')?.split_once(')'))
        .map(|(inner, _)| inner.split(',').map(str::trim).filter(|n| !n.is_empty()))
        .and_then(|sizes| sizes.map(|n| n.trim_end_matches('L').parse().ok()).collect::<Option<Vec<usize>>>())
        .ok_or_else(unknown)?;
    if shape.is_empty() || shape.len() > 2 || shape.iter().any(|&n| n == 0 || n > WIDEST) {
        return Err(format!("has shape {shape:?}: 1 to {WIDEST} values, or a square of them, are read"));
    }
    let (big, width) = match kind {
        "<f8" | "=f8" => (false, 8),
        ">f8" => (true, 8),
        "<f4" | "=f4" => (false, 4),
        ">f4" => (true, 4),
        other => return Err(format!("is of type {other:?}: f4 and f8 are read")),
    };
    let count: usize = shape.iter().product();
    let mut bytes = Vec::new();
    reader.take((count * width) as u64).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() != count * width {
        return Err(format!("has {} of {} bytes: copy or make it again", bytes.len(), count * width));
    }
    let mut values: Vec<f64> = bytes.chunks_exact(width).map(|bytes| value(bytes, big)).collect();
    if columns_first && let [rows, columns] = shape[..] {
        values = (0..count).map(|k| values[k % columns * rows + k / columns]).collect();
    }
    Ok(Array { shape, values })
}

/// What follows a key.
fn after<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    Some(header.split_once(key)?.1.trim_start())
}

fn value(bytes: &[u8], big_endian: bool) -> f64 {
    let mut whole = [0; 8];
    let whole = &mut whole[..bytes.len()];
    whole.copy_from_slice(bytes);
    if big_endian {
        whole.reverse();
    }
    match *whole {
        [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => f64::NAN,
    }
}
