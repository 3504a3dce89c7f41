//! Pairs in a plain folder, in one of two layouts: `pairs.jsonl` with a line per pair, or the folders `w` and `l` of
//! kohya's scripts.

use crate::error::ReadError;
use crate::image_files::{
    CAPTION_KEYS, IMAGES, Siblings, below, entries, is_caption, is_image, litter, read_caption, read_image,
    require_folder,
};
use crate::images;
use crate::json_lines::{Lines, count_lines};
use crate::json_row::{JsonRow, Unusable};
use crate::pair::{FileLeftOut, PreferencePair, Row, Rows};
use crate::ranked::{ranked_images, rows_of};
use domain::dataset::{Reason, Source};
use std::path::{Path, PathBuf};

/// Name of the list of pairs.
const LIST: &str = "pairs.jsonl";

/// Whether a folder has one of the two layouts.
pub(crate) fn is_set(folder: &Path) -> bool {
    folder.join(LIST).is_file() || (folder.join("w").is_dir() && folder.join("l").is_dir())
}

/// Opens a folder in either layout:
///
/// - `pairs.jsonl`: one JSON object per line with `prompt`, and with `winner` and `loser` as paths below the folder, or with
///   several images as `ranked`.
/// - `w` and `l`: winners and losers with the same file stem, and the prompt in a file `.txt`, `.caption` or `.json` of
///   that stem in `w`, in `l` or beside them.
///
/// # Errors
/// Fails if the folder has neither layout or cannot be read.
pub(crate) fn open(folder: &Path) -> Result<Rows, ReadError> {
    let list = folder.join(LIST);
    if list.is_file() {
        let folder = folder.to_owned();
        let lines = Lines::open(&list)?;
        let rows = move |line: Result<(Vec<u8>, Source), ReadError>| match line {
            Ok((line, source)) => read_line(&folder, &line, source).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        return Ok(Box::new(lines.flat_map(rows)));
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

/// What a line of the list holds.
enum Line {
    Pair([PathBuf; 2]),
    Ranked(Vec<(PathBuf, u32)>),
}

fn read_line(folder: &Path, line: &[u8], source: Source) -> Vec<Row> {
    let read = || -> Result<(String, Line), Unusable> {
        let row = JsonRow::parse(line)?;
        let prompt = row.text(&CAPTION_KEYS, Reason::NoPrompt)?.to_owned();
        if let Some(images) = ranked_images(&row, folder)? {
            return Ok((prompt, Line::Ranked(images)));
        }
        let image = |names: &[&str]| {
            let name = row.text(names, Reason::MissingImage)?;
            below(folder, name).map_err(|problem| (Reason::MissingImage, problem))
        };
        Ok((prompt, Line::Pair([image(&["winner", "chosen"])?, image(&["loser", "rejected"])?])))
    };
    match read() {
        Ok((prompt, Line::Pair(images))) => vec![pair(prompt, Ok(images), source)],
        Ok((prompt, _)) if prompt.trim().is_empty() => {
            vec![Row::dropped(Reason::NoPrompt, source, "the prompt is empty")]
        }
        Ok((prompt, Line::Ranked(images))) => rows_of(&prompt, &images, &source),
        Err((reason, detail)) => vec![Row::dropped(reason, source, detail)],
    }
}

/// The rows of the folders `w` and `l`: an image of `w` each. Before them, the files that are none.
fn read_two_folders(
    folder: PathBuf,
) -> Result<impl Iterator<Item = Result<Row, ReadError>> + Send + use<>, ReadError> {
    let [mut in_w, mut in_l] = [entries(&folder.join("w"))?, entries(&folder.join("l"))?];
    in_w.sort_unstable();
    in_l.sort_unstable();
    let beside = entries(&folder)?;
    let siblings = Siblings::of(in_w.iter().chain(&in_l).chain(&beside));
    let left_out: Vec<Row> = in_w
        .iter()
        .chain(&in_l)
        .filter_map(|file| {
            let reason = no_part(&folder, file, &siblings)?;
            Some(Row::LeftOut(FileLeftOut::new(&folder, file, reason)))
        })
        .collect();
    let winners: Vec<PathBuf> = in_w.into_iter().filter(|file| is_image(file)).collect();
    let rows = winners.into_iter().enumerate().map(move |(row, winner)| {
        let name = winner.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = Source { file: format!("w/{name}"), row: row as u64 };
        let of_side = |side: &str| folder.join(side).join(&name);
        let Some(text) = ["w", "l", ""].iter().find_map(|side| siblings.caption(&of_side(side))) else {
            return Row::dropped(Reason::NoPrompt, source, "has no .txt file of the same name");
        };
        let prompt = match read_caption(text) {
            Ok(prompt) => prompt,
            Err(problem) => return Row::dropped(Reason::NoPrompt, source, problem),
        };
        let loser = siblings.find(&of_side("l").with_extension(""), &IMAGES).map(Path::to_owned);
        let loser =
            loser.ok_or_else(|| (Reason::MissingImage, "has no image of the same name in l".to_owned()));
        pair(prompt, loser.map(|loser| [winner, loser]), source)
    });
    Ok(left_out.into_iter().chain(rows).map(Ok))
}

/// Why a file or folder in `w` or `l` is no part of the set; `None` if it is one.
fn no_part(folder: &Path, file: &Path, siblings: &Siblings) -> Option<&'static str> {
    if let Some(reason) = litter(file) {
        return Some(reason);
    }
    if file.is_dir() {
        return Some("it is a folder in w or l, where only files are read");
    }
    if is_image(file) {
        let name = file.file_name().unwrap_or_default();
        let is_loser = file.parent() == Some(&folder.join("l"));
        let winner = siblings.find(&folder.join("w").join(name).with_extension(""), &IMAGES);
        return (is_loser && winner.is_none()).then_some("there is no image of the same name in w");
    }
    (!is_caption(file)).then_some("it is neither an image nor a caption by its ending")
}

fn pair(prompt: String, images: Result<[PathBuf; 2], (Reason, String)>, source: Source) -> Row {
    if prompt.trim().is_empty() {
        return Row::dropped(Reason::NoPrompt, source, "the prompt is empty");
    }
    let bytes = images.and_then(|[winner, loser]| Ok([read_image(&winner)?, read_image(&loser)?]));
    match bytes {
        Ok([winner, loser]) => Row::Pair(PreferencePair {
            prompt,
            winner,
            loser: Some(loser),
            models: [None, None],
            source,
            list: None,
        }),
        Err((reason, detail)) => Row::dropped(reason, source, detail),
    }
}
