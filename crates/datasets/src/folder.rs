//! Pairs in a plain folder, in one of two layouts: `pairs.jsonl` with a line per pair, or the folders `w` and `l` of
//! kohya's scripts.

use crate::error::ReadError;
use crate::pair::{PreferencePair, Row};
use bytes::Bytes;
use domain::dataset::{Reason, Source};
use serde::Deserialize;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

/// Name of the list of pairs.
const LIST: &str = "pairs.jsonl";
/// Largest accepted image file, in bytes.
const LARGEST_IMAGE: u64 = 64 << 20;
/// Longest accepted line of a list, and largest caption file, in bytes.
const LONGEST_TEXT: u64 = 1 << 20;
/// Extensions of image files.
const IMAGES: [&str; 3] = ["jpg", "jpeg", "png"];

/// A line of the list. Other keys are ignored.
#[derive(Deserialize)]
struct Line {
    prompt: String,
    winner: String,
    loser: String,
}

type Rows = Box<dyn Iterator<Item = Result<Row, ReadError>> + Send>;

/// Opens a folder in either layout:
///
/// - `pairs.jsonl`: one JSON object per line with `prompt`, and with `winner` and `loser` as paths below the folder.
/// - `w` and `l`: winners and losers with the same file stem, and the prompt in a `.txt` file of that stem in `w`, in
///   `l` or beside them.
///
/// # Errors
/// Fails if the folder has neither layout or cannot be read.
pub(crate) fn open(folder: &Path) -> Result<Rows, ReadError> {
    let list = folder.join(LIST);
    if list.is_file() {
        return Ok(Box::new(read_list(folder.to_owned(), &list)?));
    }
    if folder.join("w").is_dir() && folder.join("l").is_dir() {
        return Ok(Box::new(read_two_folders(folder.to_owned())?));
    }
    let problem =
        format!("holds neither {LIST} nor the folders w and l: add a list, or sort the images into w and l");
    Err(ReadError::format(folder, problem))
}

/// Every file below a folder, sorted by path.
///
/// # Errors
/// Fails if a folder cannot be listed.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            // Linked folders are not followed: they may form a cycle.
            match fs::symlink_metadata(&path) {
                Ok(of) if of.is_dir() => folders.push(path),
                _ if path.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The number of rows, dropped ones included.
///
/// # Errors
/// Fails if the folder cannot be read.
pub(crate) fn rows(folder: &Path) -> Result<u64, ReadError> {
    let list = folder.join(LIST);
    if list.is_file() {
        let lines = BufReader::new(File::open(&list).map_err(|e| ReadError::file(&list, e))?).split(b'\n');
        return Ok(lines.map_while(Result::ok).filter(|line| !line.trim_ascii().is_empty()).count() as u64);
    }
    Ok(entries(&folder.join("w"))?.iter().filter(|file| is_image(file)).count() as u64)
}

fn read_list(
    folder: PathBuf,
    list: &Path,
) -> Result<impl Iterator<Item = Result<Row, ReadError>> + Send + use<>, ReadError> {
    let path = list.to_owned();
    let mut lines = BufReader::new(File::open(list).map_err(|e| ReadError::file(list, e))?);
    let mut row = 0;
    Ok(std::iter::from_fn(move || {
        loop {
            let mut line = Vec::new();
            match lines.by_ref().take(LONGEST_TEXT).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(ReadError::file(&path, error))),
            }
            if line.len() as u64 == LONGEST_TEXT && line.last() != Some(&b'\n') {
                let problem =
                    format!("row {row} exceeds {LONGEST_TEXT} bytes: write one JSON object per line");
                return Some(Err(ReadError::format(&path, problem)));
            }
            let source = Source { file: LIST.to_owned(), row };
            row += 1;
            if !line.trim_ascii().is_empty() {
                return Some(Ok(read_line(&folder, &line, source)));
            }
        }
    }))
}

fn read_line(folder: &Path, line: &[u8], source: Source) -> Row {
    let line: Line = match serde_json::from_slice(line) {
        Ok(line) => line,
        Err(error) => return Row::dropped(Reason::WrongType, source, error.to_string()),
    };
    let images = below(folder, &line.winner)
        .and_then(|winner| Ok([winner, below(folder, &line.loser)?]))
        .map_err(|problem| (Reason::MissingImage, problem));
    pair(line.prompt, images, source)
}

/// The path of an image of the list; refuses paths that leave the folder.
fn below(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !plain || name.is_empty() {
        return Err(format!("{name:?} leads out of the folder: use a path below it"));
    }
    Ok(folder.join(path))
}

fn read_two_folders(
    folder: PathBuf,
) -> Result<impl Iterator<Item = Result<Row, ReadError>> + Send + use<>, ReadError> {
    let mut winners: Vec<PathBuf> = entries(&folder.join("w"))?;
    winners.retain(|file| is_image(file));
    winners.sort_unstable();
    Ok(winners.into_iter().enumerate().map(move |(row, winner)| {
        let name = winner.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = Source { file: format!("w/{name}"), row: row as u64 };
        let stem = PathBuf::from(winner.file_stem().unwrap_or_default());
        let text = ["w", "l", ""]
            .iter()
            .map(|side| add_ending(&folder.join(side).join(&stem), "txt"))
            .find(|file| file.is_file());
        let Some(text) = text else {
            return Ok(Row::dropped(Reason::NoPrompt, source, "has no .txt file of the same name"));
        };
        let prompt = match read(&text, LONGEST_TEXT).map(|bytes| String::from_utf8(bytes.into())) {
            Ok(Ok(prompt)) => prompt.trim().to_owned(),
            Ok(Err(_)) => return Ok(Row::dropped(Reason::NoPrompt, source, "its .txt file is not UTF-8")),
            Err((_, problem)) => return Ok(Row::dropped(Reason::NoPrompt, source, problem)),
        };
        let loser = IMAGES
            .iter()
            .map(|ending| add_ending(&folder.join("l").join(&stem), ending))
            .find(|file| file.is_file())
            .ok_or_else(|| (Reason::MissingImage, "has no image of the same name in l".to_owned()));
        Ok(pair(prompt, loser.map(|loser| [winner, loser]), source))
    }))
}

fn pair(prompt: String, images: Result<[PathBuf; 2], (Reason, String)>, source: Source) -> Row {
    if prompt.trim().is_empty() {
        return Row::dropped(Reason::NoPrompt, source, "the prompt is empty");
    }
    let bytes =
        images.and_then(|[winner, loser]| Ok([read(&winner, LARGEST_IMAGE)?, read(&loser, LARGEST_IMAGE)?]));
    match bytes {
        Ok([winner, loser]) => {
            Row::Pair(PreferencePair { prompt, winner, loser, models: [None, None], source })
        }
        Err((reason, detail)) => Row::dropped(reason, source, detail),
    }
}

fn read(file: &Path, largest: u64) -> Result<Bytes, (Reason, String)> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let missing = |error: std::io::Error| (Reason::MissingImage, format!("{name}: {error}"));
    let metadata = fs::metadata(file).map_err(missing)?;
    if !metadata.is_file() {
        return Err((Reason::MissingImage, format!("{name} is not a file")));
    }
    if metadata.len() > largest {
        return Err((Reason::DamagedImage, format!("{name} is larger than {largest} bytes")));
    }
    fs::read(file).map(Bytes::from).map_err(missing)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let entries = fs::read_dir(folder).map_err(|e| ReadError::file(folder, e))?;
    entries.map(|entry| Ok(entry.map_err(|e| ReadError::file(folder, e))?.path())).collect()
}

fn is_image(file: &Path) -> bool {
    let ending = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    IMAGES.contains(&ending.as_str())
}

/// Unlike `with_extension`, keeps what follows the last dot of a stem such as `a.b`.
fn add_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
