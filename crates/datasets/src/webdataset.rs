//! Shards in WebDataset's format: tar files in which consecutive members with the same name up to the first dot form a
//! sample.

use crate::error::ReadError;
use crate::pair::{PreferencePair, Row};
use crate::parallel_reader::{Emit, MAX_READERS, ParallelReader};
use crate::pick_a_pic::label::{Label, label};
use bytes::Bytes;
use domain::dataset::{Reason, Source};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Largest accepted member, in bytes.
const LARGEST_MEMBER: u64 = 64 << 20;
/// Most accepted members of a sample.
const MOST_MEMBERS: usize = 32;

/// Opens a folder of shards. A sample has the members `winner.jpg` and `loser.jpg` (or `.jpeg`, `.png`), or those that
/// the scripts of Diffusion-DPO write: `jpg_0.jpg`, `jpg_1.jpg`, `label_0.txt`, `label_1.txt`. Its prompt is the member
/// `txt`, `prompt.txt`, `caption.txt` or `original_prompt.txt`, or the key `prompt` or `caption` of the member `json`.
///
/// # Errors
/// Fails if the folder cannot be listed or has no `.tar` file.
pub(crate) fn open(folder: &Path) -> Result<ParallelReader, ReadError> {
    Ok(ParallelReader::start(files(folder)?, MAX_READERS, |file, emit| read(file, emit)))
}

/// The shards of a folder, sorted by name.
///
/// # Errors
/// Fails if the folder cannot be listed or has no `.tar` file.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| ReadError::file(folder, e))? {
        let path = entry.map_err(|e| ReadError::file(folder, e))?.path();
        if path.extension().is_some_and(|ending| ending == "tar") && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(ReadError::format(folder, "holds no .tar file"));
    }
    files.sort_unstable();
    Ok(files)
}

/// The members of one sample, by their name after the first dot.
#[derive(Default)]
struct Sample {
    /// The name before the first dot.
    key: String,
    members: BTreeMap<String, Bytes>,
    problem: Option<(Reason, String)>,
}

fn read(file: &PathBuf, emit: &mut Emit<'_>) -> Result<(), ReadError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut archive = tar::Archive::new(File::open(file).map_err(|e| ReadError::file(file, e))?);
    let mut row = 0;
    let mut sample = Sample::default();
    let mut finish = |sample: Sample, emit: &mut Emit<'_>| {
        let source = Source { file: name.clone(), row };
        row += 1;
        emit(sample.into_row(source))
    };
    let mut broken = None;
    for member in archive.entries().map_err(|e| ReadError::file(file, e))? {
        // Behind an invalid header the next one cannot be found.
        let mut member = match member {
            Ok(member) => member,
            Err(error) => {
                broken = Some(error.to_string());
                break;
            }
        };
        if !member.header().entry_type().is_file() {
            continue;
        }
        // Names only group members; no file is ever written under them.
        let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let start = path.rfind('/').map_or(0, |slash| slash + 1);
        let Some(dot) = path[start..].find('.').map(|dot| start + dot) else { continue };
        let (key, ending) = (&path[..dot], path[dot + 1..].to_lowercase());
        if key != sample.key {
            let ended = std::mem::take(&mut sample);
            sample.key = key.to_owned();
            if !ended.members.is_empty() && finish(ended, emit).is_break() {
                return Ok(());
            }
        }
        let size = member.size();
        if size > LARGEST_MEMBER || sample.members.len() >= MOST_MEMBERS {
            let problem = format!(
                "{ending} has {size} bytes (at most {LARGEST_MEMBER}), or the sample more than {MOST_MEMBERS} members"
            );
            sample.problem = Some((Reason::DamagedImage, problem));
            sample.members.entry(ending).or_default();
            continue;
        }
        let mut bytes = Vec::new();
        match member.by_ref().take(LARGEST_MEMBER).read_to_end(&mut bytes) {
            Ok(length) if length as u64 == size => drop(sample.members.insert(ending, bytes.into())),
            _ => {
                sample.problem = Some((Reason::Unreadable, format!("{ending} is incomplete")));
                sample.members.entry(ending).or_default();
            }
        }
    }
    if !sample.members.is_empty() && finish(sample, emit).is_break() {
        return Ok(());
    }
    if let Some(detail) = broken {
        let source = Source { file: name.clone(), row };
        let _: ControlFlow<()> = emit(Row::dropped(Reason::Unreadable, source, detail));
    }
    Ok(())
}

/// The key of a sample's `json` that is read.
#[derive(Deserialize)]
struct Caption {
    #[serde(alias = "caption")]
    prompt: Option<String>,
}

impl Sample {
    fn into_row(mut self, source: Source) -> Row {
        if let Some((reason, detail)) = self.problem {
            return Row::dropped(reason, source, detail);
        }
        let prompt = match self.prompt() {
            Some(prompt) => prompt,
            None => {
                return Row::dropped(
                    Reason::NoPrompt,
                    source,
                    "has neither a txt nor a json member with a prompt",
                );
            }
        };
        let numbers = ["label_0", "label_1"].map(|name| self.number(name));
        let by_label = self.members.keys().any(|name| name.starts_with("jpg_0"));
        let [first, second] = if by_label { ["jpg_0", "jpg_1"] } else { ["winner", "loser"] };
        let swapped = by_label
            && match label(None, numbers) {
                Label::First => false,
                Label::Second => true,
                Label::None(reason, detail) => return Row::dropped(reason, source, detail),
            };
        let (Some(first), Some(second)) = (self.image(first), self.image(second)) else {
            return Row::dropped(
                Reason::MissingImage,
                source,
                format!("has no image {first} or no image {second}"),
            );
        };
        let (winner, loser) = if swapped { (second, first) } else { (first, second) };
        Row::Pair(PreferencePair { prompt, winner, loser: Some(loser), models: [None, None], source })
    }

    fn prompt(&self) -> Option<String> {
        let texts = ["txt", "prompt.txt", "caption.txt", "original_prompt.txt"];
        let text = texts.iter().find_map(|name| self.members.get(*name));
        let prompt = match text {
            Some(text) => String::from_utf8(text.to_vec()).ok()?,
            None => serde_json::from_slice::<Caption>(self.members.get("json")?).ok()?.prompt?,
        };
        let prompt = prompt.trim();
        (!prompt.is_empty()).then(|| prompt.to_owned())
    }

    fn number(&self, name: &str) -> Option<f64> {
        let text = ["", ".txt", ".cls"].iter().find_map(|end| self.members.get(&format!("{name}{end}")))?;
        std::str::from_utf8(text).ok()?.trim().parse().ok()
    }

    fn image(&mut self, name: &str) -> Option<Bytes> {
        ["", ".jpg", ".jpeg", ".png"].iter().find_map(|end| self.members.remove(&format!("{name}{end}")))
    }
}
