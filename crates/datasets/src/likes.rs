//! Images that people liked or disliked: a list `likes.jsonl` with a line per image. Pairs are formed within a prompt: a liked
//! image wins against a disliked one.

use crate::error::ReadError;
use crate::image_files::{CAPTION_KEYS, below, read_image, require_folder};
use crate::json_lines::{Lines, count_lines};
use crate::json_row::JsonRow;
use crate::pair::{PreferencePair, Row, Rows};
use domain::dataset::{Reason, Source};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Name of the list.
const LIST: &str = "likes.jsonl";

/// The images of one prompt, in the order of the list.
#[derive(Default)]
struct Judged {
    prompt: String,
    liked: Vec<(PathBuf, Source)>,
    disliked: Vec<(PathBuf, Source)>,
}

/// Whether a folder has a list of likes.
pub(crate) fn is_set(folder: &Path) -> bool {
    folder.join(LIST).is_file()
}

/// Opens a folder with a list of likes. Of a prompt with n liked and m disliked images, max(n, m) pairs are formed, in
/// which each image takes part at least once. Images of a prompt that has only one kind are dropped.
///
/// # Errors
/// Fails if the list is missing or cannot be read.
pub(crate) fn open(folder: &Path) -> Result<Rows, ReadError> {
    require_folder(folder)?;
    let list = folder.join(LIST);
    if !list.is_file() {
        let problem = format!(
            "has no {LIST}: add one with lines {{\"prompt\": .., \"image\": .., \"liked\": true or false}}"
        );
        return Err(ReadError::format(folder, problem));
    }
    let mut prompts: Vec<Judged> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut rows = Vec::new();
    for line in Lines::open(&list)? {
        let (line, source) = line?;
        let line = JsonRow::parse(&line).and_then(|row| {
            let prompt = row.text(&CAPTION_KEYS, Reason::NoPrompt)?.trim().to_owned();
            let image = row.text(&["image", "file_name"], Reason::MissingImage)?;
            let image = below(folder, image).map_err(|problem| (Reason::MissingImage, problem))?;
            Ok((prompt, image, row.flag(&["liked", "label"], Reason::NoLabel)?))
        });
        match line {
            Err((reason, detail)) => rows.push(Row::dropped(reason, source, detail)),
            Ok((prompt, ..)) if prompt.is_empty() => {
                rows.push(Row::dropped(Reason::NoPrompt, source, "the prompt is empty"));
            }
            Ok((prompt, image, liked)) => {
                let at = *index.entry(prompt.clone()).or_insert_with(|| {
                    prompts.push(Judged { prompt, ..Judged::default() });
                    prompts.len() - 1
                });
                let of = &mut prompts[at];
                if liked { &mut of.liked } else { &mut of.disliked }.push((image, source));
            }
        }
    }
    let pairs = prompts.into_iter().flat_map(Judged::into_rows);
    Ok(Box::new(rows.into_iter().chain(pairs).map(Ok)))
}

/// The number of lines, an upper bound of the number of rows.
///
/// # Errors
/// Fails if the list cannot be read.
pub(crate) fn rows(folder: &Path) -> Result<u64, ReadError> {
    count_lines(&folder.join(LIST))
}

impl Judged {
    /// The pairs of the prompt. Their images are read when the iterator reaches them.
    fn into_rows(self) -> Box<dyn Iterator<Item = Row> + Send> {
        let Self { prompt, liked, disliked } = self;
        if liked.is_empty() || disliked.is_empty() {
            let other = if liked.is_empty() { "liked" } else { "disliked" };
            let detail = format!("no other image of the prompt is {other}");
            let alone = liked.into_iter().chain(disliked);
            return Box::new(
                alone.map(move |(_, source)| Row::dropped(Reason::NoPartner, source, detail.clone())),
            );
        }
        let count = liked.len().max(disliked.len());
        Box::new((0..count).map(move |i| {
            let ((winner, source), (loser, _)) = (&liked[i % liked.len()], &disliked[i % disliked.len()]);
            let images = read_image(winner).and_then(|winner| Ok((winner, read_image(loser)?)));
            match images {
                Ok((winner, loser)) => Row::Pair(PreferencePair {
                    prompt: prompt.clone(),
                    winner,
                    loser: Some(loser),
                    models: [None, None],
                    source: source.clone(),
                    list: None,
                }),
                Err((reason, detail)) => Row::dropped(reason, source.clone(), detail),
            }
        }))
    }
}
