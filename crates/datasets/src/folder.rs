//! Pairs in a plain folder, in one of two layouts: `pairs.jsonl` with a line per pair, or the folders `w` and `l` of
//! kohya's scripts.

use crate::error::ReadError;
use crate::image_files::{
    IMAGES, add_ending, below, entries, is_image, read_caption, read_image, require_folder,
};
use crate::images;
use crate::json_lines::{Lines, count_lines};
use crate::pair::{PreferencePair, Row, Rows};
use domain::dataset::{Reason, Source};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Name of the list of pairs.
const LIST: &str = "pairs.jsonl";

/// A line of the list. Other keys are ignored.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "caption", alias = "text")]
    prompt: String,
    #[serde(alias = "chosen")]
    winner: String,
    #[serde(alias = "rejected")]
    loser: String,
}

/// Whether a folder has one of the two layouts.
pub(crate) fn is_set(folder: &Path) -> bool {
    folder.join(LIST).is_file() || (folder.join("w").is_dir() && folder.join("l").is_dir())
}

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
        let folder = folder.to_owned();
        let lines = Lines::open(&list)?;
        return Ok(Box::new(
            lines.map(move |line| line.map(|(line, source)| read_line(&folder, &line, source))),
        ));
    }
    require_folder(folder)?;
    if folder.join("w").is_dir() && folder.join("l").is_dir() {
        return Ok(Box::new(read_two_folders(folder.to_owned())?));
    }
    let remedy = if images::layout(folder).is_some() {
        "it has captioned images without losers, which source = \"images\" reads"
    } else {
        "add a list, or sort the images into w and l"
    };
    Err(ReadError::format(folder, format!("holds neither {LIST} nor the folders w and l: {remedy}")))
}

/// The number of rows, dropped ones included.
///
/// # Errors
/// Fails if the folder cannot be read.
pub(crate) fn rows(folder: &Path) -> Result<u64, ReadError> {
    let list = folder.join(LIST);
    if list.is_file() {
        return count_lines(&list);
    }
    Ok(entries(&folder.join("w"))?.iter().filter(|file| is_image(file)).count() as u64)
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
        let prompt = match read_caption(&text) {
            Ok(prompt) => prompt,
            Err(problem) => return Ok(Row::dropped(Reason::NoPrompt, source, problem)),
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
    let bytes = images.and_then(|[winner, loser]| Ok([read_image(&winner)?, read_image(&loser)?]));
    match bytes {
        Ok([winner, loser]) => {
            Row::Pair(PreferencePair { prompt, winner, loser: Some(loser), models: [None, None], source })
        }
        Err((reason, detail)) => Row::dropped(reason, source, detail),
    }
}
