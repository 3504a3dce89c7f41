//! WebDataset's shards: tar files whose members of one name before the first dot make a sample.

use crate::error::ReadError;
use crate::lanes::{self, Emit, Lanes};
use crate::pair::{PreferencePair, Row};
use crate::pick_a_pic::label::{Label, label};
use bytes::Bytes;
use domain::dataset::{Reason, Source};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Largest member that is read, in bytes.
const LARGEST_MEMBER: u64 = 64 << 20;
/// Most members of a sample.
const MOST_MEMBERS: usize = 32;

/// Opens a folder of shards. A sample has `winner.jpg` and `loser.jpg` (or `.jpeg`, `.png`), or the members that the
/// Diffusion-DPO scripts write: `jpg_0.jpg`, `jpg_1.jpg`, `label_0.txt`, `label_1.txt`. Its prompt is in `txt`,
/// `prompt.txt`, `caption.txt` or `original_prompt.txt`, or in `json` as `prompt` or `caption`.
///
/// # Errors
/// The folder has no `.tar` file.
pub fn open(folder: &Path) -> Result<Lanes, ReadError> {
    Ok(Lanes::start(files(folder)?, lanes::MOST, |file, emit| read(file, emit)))
}

/// The shards of a folder, in the order of their names.
///
/// # Errors
/// The folder has no `.tar` file.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
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

/// The members of one sample by what follows the first dot.
#[derive(Default)]
struct Sample {
    key: String,
    members: BTreeMap<String, Bytes>,
    problem: Option<(Reason, String)>,
}

fn read(file: &PathBuf, emit: &mut Emit<'_>) -> Result<(), ReadError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut archive = tar::Archive::new(File::open(file).map_err(|e| ReadError::file(file, e))?);
    let mut row = 0;
    let mut sample = Sample::default();
    let mut give = |sample: Sample, emit: &mut Emit<'_>| {
        let source = Source { file: name.clone(), row };
        row += 1;
        emit(sample.into_row(source))
    };
    let mut broken = None;
    for member in archive.entries().map_err(|e| ReadError::file(file, e))? {
        // What follows a header that makes no sense cannot be found.
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
        // A name only says what belongs together; nothing is ever written under it.
        let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let start = path.rfind('/').map_or(0, |slash| slash + 1);
        let Some(dot) = path[start..].find('.').map(|dot| start + dot) else { continue };
        let (key, ending) = (&path[..dot], path[dot + 1..].to_lowercase());
        if key != sample.key {
            let ended = std::mem::take(&mut sample);
            sample.key = key.to_owned();
            if !ended.members.is_empty() && give(ended, emit).is_break() {
                return Ok(());
            }
        }
        let size = member.size();
        if size > LARGEST_MEMBER || sample.members.len() >= MOST_MEMBERS {
            let problem = format!("{ending} has {size} bytes, or is one of more than {MOST_MEMBERS} members");
            sample.problem = Some((Reason::DamagedImage, problem));
            sample.members.entry(ending).or_default();
            continue;
        }
        let mut bytes = Vec::new();
        match member.by_ref().take(LARGEST_MEMBER).read_to_end(&mut bytes) {
            Ok(length) if length as u64 == size => drop(sample.members.insert(ending, bytes.into())),
            _ => {
                sample.problem = Some((Reason::Unreadable, format!("{ending} ends too early")));
                sample.members.entry(ending).or_default();
            }
        }
    }
    if !sample.members.is_empty() && give(sample, emit).is_break() {
        return Ok(());
    }
    if let Some(detail) = broken {
        let source = Source { file: name.clone(), row };
        let _: ControlFlow<()> = emit(Row::dropped(Reason::Unreadable, source, detail));
    }
    Ok(())
}

/// The part of a sample's `json` that matters.
#[derive(Deserialize)]
struct Words {
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
            None => return Row::dropped(Reason::NoPrompt, source, "has no txt or json with a prompt"),
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
            return Row::dropped(Reason::MissingImage, source, format!("has no {first} or no {second}"));
        };
        let (winner, loser) = if swapped { (second, first) } else { (first, second) };
        Row::Pair(PreferencePair { prompt, winner, loser, models: [None, None], source })
    }

    fn prompt(&self) -> Option<String> {
        let texts = ["txt", "prompt.txt", "caption.txt", "original_prompt.txt"];
        let text = texts.iter().find_map(|name| self.members.get(*name));
        let prompt = match text {
            Some(text) => String::from_utf8(text.to_vec()).ok()?,
            None => serde_json::from_slice::<Words>(self.members.get("json")?).ok()?.prompt?,
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
