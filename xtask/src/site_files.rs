//! Files of folders: listed, hashed, written, compressed and replaced.

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The files of a folder with an extension, or all; in the order of their names.
pub(crate) fn files_of(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_file()
            && (extension.is_empty() || path.extension().is_some_and(|found| found == extension))
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Adds the names and contents of files to a hash.
pub(crate) fn hash_files(files: &[PathBuf], hasher: &mut impl Hasher) -> Result<()> {
    for file in files {
        file.file_name().hash(hasher);
        fs::read(file).with_context(|| format!("reading {}", file.display()))?.hash(hasher);
    }
    Ok(())
}

/// Writes the Brotli and gzip forms of each file beside it. Fonts are compressed already.
pub(crate) fn compress_folder(folder: &Path) -> Result<()> {
    let (mut plain, mut brotli) = (0, 0);
    for file in files_of(folder, "")? {
        if file.extension().is_some_and(|extension| extension == "woff2" || extension == "png") {
            continue;
        }
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes)?;
        write(&with_suffix(&file, ".gz"), &encoder.finish()?)?;
        let mut compressed = Vec::new();
        let parameters = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
        brotli::BrotliCompress(&mut bytes.as_slice(), &mut compressed, &parameters)?;
        write(&with_suffix(&file, ".br"), &compressed)?;
        plain += bytes.len();
        brotli += compressed.len();
    }
    println!("    {}: {} kB, compressed {} kB", folder.display(), plain / 1000, brotli / 1000);
    Ok(())
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Writes a file.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
}

/// Removes a folder if it exists.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}
