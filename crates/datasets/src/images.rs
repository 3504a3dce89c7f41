//! Captioned images in a folder: a list `metadata.jsonl` or `metadata.csv`, as the image folders of `datasets` have, or a
//! caption file beside each image, as kohya's scripts read. The images are winners; their losers, if they were drawn, are
//! in a folder of their own, numbered by row.

use crate::error::ReadError;
use crate::image_files::{
    Siblings, below, files, is_caption, is_image, litter, read_caption, read_image, require_folder,
};
use crate::json_lines::{Lines, count_lines};
use crate::json_row::JsonRow;
use crate::pair::{FileLeftOut, PreferencePair, Row, Rows};
use crate::splits;
use domain::data::ImagesSpec;
use domain::dataset::{Reason, Source};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Names of lists.
const JSON_LIST: &str = "metadata.jsonl";
const CSV_LIST: &str = "metadata.csv";
/// Keys of the image and of the caption in a list.
const IMAGE_KEYS: [&str; 2] = ["file_name", "image"];
const TEXT_KEYS: [&str; 3] = ["text", "caption", "prompt"];

/// How a folder states its captions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    JsonLines(PathBuf),
    Csv(PathBuf),
    /// A caption file beside each image.
    CaptionFiles,
}

/// The layout of a folder; `None` if it has no captions.
pub(crate) fn layout(folder: &Path) -> Option<Layout> {
    // `datasets` puts a split into a folder of its name.
    for folder in [folder.to_owned(), folder.join("train")] {
        if folder.join(JSON_LIST).is_file() {
            return Some(Layout::JsonLines(folder.join(JSON_LIST)));
        }
        if folder.join(CSV_LIST).is_file() {
            return Some(Layout::Csv(folder.join(CSV_LIST)));
        }
    }
    let files = files(folder).ok()?;
    let siblings = Siblings::of(&files);
    let has_caption = |file: &PathBuf| is_image(file) && siblings.caption(file).is_some();
    files.iter().any(has_caption).then_some(Layout::CaptionFiles)
}

/// Opens a folder of captioned images. With a folder of losers, row i is paired with its `i.png` there.
///
/// # Errors
/// Fails if the folder has no captions or cannot be read.
pub(crate) fn open(spec: &ImagesSpec) -> Result<Rows, ReadError> {
    let folder = Path::new(&spec.folder);
    let losers = spec.losers.as_ref().and_then(|losers| losers.folder.as_ref()).map(PathBuf::from);
    let layout = checked(folder)?;
    let mut left_out = Vec::new();
    let captioned: Box<dyn Iterator<Item = Result<Captioned, ReadError>> + Send> = match &layout {
        Layout::JsonLines(list) => {
            Box::new(Lines::open(list)?.map(|line| line.map(|(line, source)| of_json(&line, source))))
        }
        Layout::Csv(list) => Box::new(read_csv(list)?.into_iter().map(Ok)),
        Layout::CaptionFiles => {
            let (captioned, others) = caption_files(folder)?;
            left_out = others;
            Box::new(captioned.into_iter().map(Ok))
        }
    };
    let folder = match &layout {
        Layout::JsonLines(list) | Layout::Csv(list) => list.parent().unwrap_or(folder).to_owned(),
        Layout::CaptionFiles => folder.to_owned(),
    };
    let rows = captioned.map(move |image| {
        let image = image?;
        let loser = losers.as_ref().map(|losers| losers.join(loser_name(image.source.row)));
        Ok(image.into_row(&folder, loser.as_deref()))
    });
    Ok(Box::new(left_out.into_iter().map(Ok).chain(rows)))
}

/// The number of rows, dropped ones included.
///
/// # Errors
/// Fails if the folder has no captions or cannot be read.
pub(crate) fn rows(folder: &Path) -> Result<u64, ReadError> {
    match checked(folder)? {
        Layout::JsonLines(list) => count_lines(&list),
        Layout::Csv(list) => Ok(read_csv(&list)?.len() as u64),
        Layout::CaptionFiles => {
            let files = files(folder)?;
            let (read, _) = by_split(folder, &files);
            Ok(read.into_iter().filter(|file| is_image(file)).count() as u64)
        }
    }
}

/// The file name of the loser of a row (`Source::row`) in the folder of drawn losers.
#[must_use]
pub fn loser_name(row: u64) -> String {
    format!("{row:07}.png")
}

fn checked(folder: &Path) -> Result<Layout, ReadError> {
    require_folder(folder)?;
    layout(folder).ok_or_else(|| {
        let problem = format!(
            "has no captioned images: add {JSON_LIST} with lines {{\"file_name\": .., \"text\": ..}}, or a .txt file \
             with the caption beside each image"
        );
        ReadError::format(folder, problem)
    })
}

/// An image with its caption, or why there is none.
struct Captioned {
    /// The path of the image below the set's folder, and the caption.
    outcome: Result<(String, String), (Reason, String)>,
    source: Source,
}

impl Captioned {
    fn into_row(self, folder: &Path, loser: Option<&Path>) -> Row {
        let Self { outcome, source } = self;
        let read = outcome.and_then(|(image, prompt)| {
            if prompt.trim().is_empty() {
                return Err((Reason::NoPrompt, "the caption is empty".to_owned()));
            }
            let image = below(folder, &image).map_err(|problem| (Reason::MissingImage, problem))?;
            let loser = loser.map(read_image).transpose()?;
            Ok((prompt.trim().to_owned(), read_image(&image)?, loser))
        });
        match read {
            Ok((prompt, winner, loser)) => {
                Row::Pair(PreferencePair { prompt, winner, loser, models: [None, None], source, list: None })
            }
            Err((reason, detail)) => Row::dropped(reason, source, detail),
        }
    }
}

fn of_json(line: &[u8], source: Source) -> Captioned {
    let outcome = JsonRow::parse(line).and_then(|row| {
        let image = row.text(&IMAGE_KEYS, Reason::MissingImage)?;
        Ok((image.to_owned(), row.text(&TEXT_KEYS, Reason::NoPrompt)?.to_owned()))
    });
    Captioned { outcome, source }
}

fn read_csv(list: &Path) -> Result<Vec<Captioned>, ReadError> {
    let unreadable = |error: csv::Error| ReadError::format(list, error.to_string());
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(list).map_err(unreadable)?;
    let headers = reader.headers().map_err(unreadable)?.clone();
    let plain: Vec<&str> =
        headers.iter().map(|header| header.trim_start_matches('\u{feff}').trim()).collect();
    let column =
        |names: &[&str]| names.iter().find_map(|name| plain.iter().position(|header| header == name));
    let (Some(image), Some(text)) = (column(&IMAGE_KEYS), column(&TEXT_KEYS)) else {
        let found = headers.iter().collect::<Vec<_>>().join(", ");
        let problem = format!("has the columns {found:?}, and needs file_name and text, separated by commas");
        return Err(ReadError::format(list, problem));
    };
    let file = list.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let captioned = |(row, record): (u64, Result<csv::StringRecord, csv::Error>)| {
        let outcome = record.map_err(|error| (Reason::WrongType, error.to_string())).and_then(|record| {
            if record.len() > headers.len() {
                let detail = format!(
                    "has {} cells, and the header has {}: quote captions that contain commas",
                    record.len(),
                    headers.len()
                );
                return Err((Reason::WrongType, detail));
            }
            let cell = |at: usize| record.get(at).map(str::to_owned);
            let missing = || (Reason::WrongType, "the line has too few columns".to_owned());
            Ok((cell(image).ok_or_else(missing)?, cell(text).ok_or_else(missing)?))
        });
        Captioned { outcome, source: Source { file: file.clone(), row } }
    };
    Ok((0..).zip(reader.records()).map(captioned).collect())
}

/// Every image below a folder with the caption file beside it, and the files that are neither.
fn caption_files(folder: &Path) -> Result<(Vec<Captioned>, Vec<Row>), ReadError> {
    let files = files(folder)?;
    let (read, of_others) = by_split(folder, &files);
    let siblings = Siblings::of(read.iter().copied());
    let (mut captioned, mut used) = (Vec::new(), HashSet::new());
    for image in read.iter().filter(|file| is_image(file)) {
        let name = image.strip_prefix(folder).unwrap_or(image).to_string_lossy().into_owned();
        let source = Source { file: name.clone(), row: captioned.len() as u64 };
        let caption = siblings.caption(image);
        used.extend(caption);
        let outcome = match caption.map(read_caption) {
            None => Err((Reason::NoPrompt, "has no .txt or .caption file of the same name".to_owned())),
            Some(Err(problem)) => Err((Reason::NoPrompt, problem)),
            Some(Ok(caption)) => Ok((name, caption)),
        };
        captioned.push(Captioned { outcome, source });
    }
    let left_out = |file: &Path, reason: &str| Row::LeftOut(FileLeftOut::new(folder, file, reason));
    let unused = read.iter().filter(|file| !is_image(file) && !used.contains(file.as_path()));
    let unused = unused.map(|file| {
        let reason = match litter(file) {
            Some(reason) => reason,
            None if is_caption(file) => "there is no image of the same name, or it has another caption file",
            None => "it is neither an image nor a caption by its ending",
        };
        left_out(file, reason)
    });
    let of_others =
        of_others.iter().map(|(file, split)| left_out(file, &format!("it is of the split {split}")));
    let left_out = unused.chain(of_others).collect();
    Ok((captioned, left_out))
}

/// The files of the folder `train`, and those of the folders of other splits beside it with their split; all files if there
/// is no such folder.
fn by_split<'a>(folder: &Path, files: &'a [PathBuf]) -> (Vec<&'a PathBuf>, Vec<(&'a PathBuf, &'static str)>) {
    let split_of = |file: &PathBuf| {
        let mut parts = file.strip_prefix(folder).ok()?.iter();
        let (first, _) = (parts.next()?, parts.next()?);
        splits::named(&first.to_string_lossy())
    };
    let has_training = files.iter().any(|file| is_image(file) && split_of(file) == Some(splits::DEFAULT));
    let (mut read, mut of_others) = (Vec::new(), Vec::new());
    for file in files {
        match split_of(file).filter(|split| has_training && *split != splits::DEFAULT) {
            Some(split) => of_others.push((file, split)),
            None => read.push(file),
        }
    }
    (read, of_others)
}
