//! Statistics in numpy's `.npz` format with the arrays `mu` and `sigma`, as pytorch-fid reads and writes them.
//!
//! A `.npz` file is a zip archive of `.npy` files: a magic number, a header that is a Python literal, and the values
//! (numpy.lib.format). This module reads f4 and f8 of either byte order, in row-major or column-major order. It uses
//! neither `npyz` nor `ndarray-npy`: npyz 0.9 allocates whatever header length a file states (up to 4 GB), and both
//! parse the header with a general parser of Python literals, which brings pest and a second version of num-bigint for
//! the three keys that such a header has.

use super::error::FidError;
use super::statistics::Statistics;
use files::write_atomically;
use flate2::read::DeflateDecoder;
use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Largest accepted dimension of an array; no network has as many features.
const WIDEST: usize = 16_384;
/// Longest accepted header of an array, in bytes.
const LONGEST_HEADER: usize = 65_536;

/// An array of one or two dimensions in row-major order.
struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// Reads statistics from a `.npz` file.
///
/// # Errors
/// Fails if the file cannot be read, is not an archive of `mu` and `sigma`, or has values that are not finite.
pub fn read_statistics(file: &Path) -> Result<Statistics, FidError> {
    let problem = |problem: String| FidError::file(file, problem);
    let opened = File::open(file).map_err(|e| problem(e.to_string()))?;
    let mut archive = ZipArchive::new(opened).map_err(|e| {
        problem(format!(
            "is not a .npz file ({e}): create it with pytorch-fid --save-stats or with --save-statistics"
        ))
    })?;
    let mut array = |name: &str| read_array(&mut archive, name).map_err(problem);
    let (mean, sigma) = (array("mu")?, array("sigma")?);
    let width = mean.values.len();
    if mean.shape.len() != 1 || sigma.shape != [width, width] {
        return Err(problem(format!(
            "has mu of shape {:?} and sigma of shape {:?}: a vector and a square matrix of its width are needed",
            mean.shape, sigma.shape
        )));
    }
    if mean.values.iter().chain(&sigma.values).any(|v| !v.is_finite()) {
        return Err(problem("has values that are not finite".to_owned()));
    }
    Ok(Statistics::from_moments(mean.values, sigma.values))
}

/// Writes statistics to a `.npz` file, which is complete or absent.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write_statistics(statistics: &Statistics, file: &Path) -> Result<(), FidError> {
    let width = statistics.width();
    let arrays = [
        ("mu.npy", format!("({width},)"), &statistics.mean),
        ("sigma.npy", format!("({width}, {width})"), &statistics.covariance),
    ];
    let archive = || -> std::io::Result<Vec<u8>> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, shape, values) in arrays {
            // Uncompressed, because measured doubles hardly compress.
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            archive.start_file(name, options)?;
            archive.write_all(&header(&shape))?;
            archive.write_all(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
        }
        Ok(archive.finish()?.into_inner())
    };
    let archive = archive().map_err(|e| FidError::file(file, e))?;
    write_atomically(file, &archive).map_err(|e| FidError::file(&e.path, e.source))
}

/// The header of an array of little-endian doubles in row-major order, padded so that the values begin at a multiple of
/// 64.
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
    // The zip crate is built without decompression (candle shares it), so it returns members as stored.
    let member = archive.by_index_raw(index).map_err(|e| format!("has a damaged array {name:?} ({e})"))?;
    let largest = (WIDEST * WIDEST * 8 + 4096) as u64;
    let reader: Box<dyn Read> = match member.compression() {
        CompressionMethod::Stored => Box::new(member),
        _ if member.encrypted() => return Err(format!("has an encrypted array {name:?}")),
        // numpy writes no other method than Stored and Deflate.
        _ => Box::new(DeflateDecoder::new(member)),
    };
    parse_npy(reader.take(largest)).map_err(|problem| format!("has an array {name:?} that {problem}"))
}

/// Parses a `.npy` file.
fn parse_npy(mut reader: impl Read) -> Result<Array, String> {
    let header = read_header(&mut reader)?;
    let Header { big_endian, value_size, column_major, shape } = parse_header(&header)?;
    let count: usize = shape.iter().product();
    let mut bytes = Vec::new();
    reader.take((count * value_size) as u64).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() != count * value_size {
        return Err(format!("has {} of {} bytes: copy or create it again", bytes.len(), count * value_size));
    }
    let mut values: Vec<f64> = bytes.chunks_exact(value_size).map(|bytes| value(bytes, big_endian)).collect();
    if column_major && let [rows, columns] = shape[..] {
        values = (0..count).map(|k| values[k % columns * rows + k / columns]).collect();
    }
    Ok(Array { shape, values })
}

fn damaged(error: std::io::Error) -> String {
    format!("is incomplete or damaged ({error})")
}

fn read_header(reader: &mut impl Read) -> Result<String, String> {
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(damaged)?;
    if !start.starts_with(MAGIC) {
        return Err("is not a .npy file".to_owned());
    }
    let mut length = [0; 4];
    // Version 1 has a length of two bytes, versions 2 and 3 of four.
    let size = if start[6] == 1 { 2 } else { 4 };
    reader.read_exact(&mut length[..size]).map_err(damaged)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST_HEADER {
        return Err(format!("has a header of {length} bytes: at most {LONGEST_HEADER} are accepted"));
    }
    let mut header = vec![0; length];
    reader.read_exact(&mut header).map_err(damaged)?;
    Ok(String::from_utf8_lossy(&header).into_owned())
}

struct Header {
    big_endian: bool,
    /// Bytes of a value.
    value_size: usize,
    column_major: bool,
    shape: Vec<usize>,
}

fn parse_header(header: &str) -> Result<Header, String> {
    let invalid = || format!("has an unsupported header: {:?}", header.trim());
    let kind = after(header, "'descr':").and_then(|text| text.split('\'').nth(1)).ok_or_else(invalid)?;
    let column_major = after(header, "'fortran_order':").ok_or_else(invalid)?.starts_with("True");
    let shape = after(header, "'shape':")
        .and_then(|text| text.strip_prefix('(')?.split_once(')'))
        .map(|(inner, _)| inner.split(',').map(str::trim).filter(|n| !n.is_empty()))
        .and_then(|sizes| sizes.map(|n| n.trim_end_matches('L').parse().ok()).collect::<Option<Vec<usize>>>())
        .ok_or_else(invalid)?;
    if shape.is_empty() || shape.len() > 2 || shape.iter().any(|&n| n == 0 || n > WIDEST) {
        return Err(format!("has shape {shape:?}: 1 or 2 dimensions of 1 to {WIDEST} are supported"));
    }
    let (big_endian, value_size) = match kind {
        "<f8" | "=f8" => (false, 8),
        ">f8" => (true, 8),
        "<f4" | "=f4" => (false, 4),
        ">f4" => (true, 4),
        other => return Err(format!("has type {other:?}: f4 and f8 are supported")),
    };
    Ok(Header { big_endian, value_size, column_major, shape })
}

/// The text after a key of the header.
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
