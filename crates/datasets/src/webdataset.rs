//! Shards in WebDataset's format: tar files in which consecutive members with the same name up to the first dot form a
//! sample.

use crate::error::ReadError;
use crate::image_files::{self, CAPTION_KEYS, IMAGES, ending, litter};
use crate::json_row::{JsonRow, Unusable};
use crate::pair::{FileLeftOut, PreferencePair, Row, Rows};
use crate::parallel_reader::{Emit, MAX_READERS, ParallelReader};
use crate::pick_a_pic::label::{Label, label};
use crate::splits::{self, Chosen};
use crate::text::decode_text;
use bytes::Bytes;
use domain::dataset::{Reason, Source};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Largest accepted member, in bytes.
const LARGEST_MEMBER: u64 = 64 << 20;
/// Most accepted members of a sample.
const MOST_MEMBERS: usize = 32;

/// Opens a folder of shards. A sample has the members `winner.jpg` and `loser.jpg` (or another ending of images), or those
/// that the scripts of Diffusion-DPO write: `jpg_0.jpg`, `jpg_1.jpg`, `label_0.txt`, `label_1.txt`. Its prompt is the member
/// `txt`, `prompt.txt`, `caption.txt` or `original_prompt.txt`, or the key `prompt`, `caption` or `text` of the member `json`.
///
/// # Errors
/// Fails if the folder cannot be listed or has no `.tar` file.
pub(crate) fn open(folder: &Path) -> Result<Rows, ReadError> {
    let Chosen { files, left_out } = chosen(folder)?;
    let left_out = left_out.into_iter().map(|file| Ok(Row::LeftOut(file)));
    let packed = image_files::files(folder)?.into_iter().filter(|file| is_compressed(file));
    let reason = "it is a compressed archive: unpack it to .tar";
    let packed: Vec<_> =
        packed.map(|file| Ok(Row::LeftOut(FileLeftOut::new(folder, &file, reason)))).collect();
    let read = ParallelReader::start(files, MAX_READERS, |file, emit| read(file, emit));
    Ok(Box::new(left_out.chain(packed).chain(read)))
}

/// The shards of a folder's training split, sorted by name.
///
/// # Errors
/// Fails if the folder cannot be listed or has no `.tar` file.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    Ok(chosen(folder)?.files)
}

fn chosen(folder: &Path) -> Result<Chosen, ReadError> {
    splits::find(folder, "tar", None)
}

/// Whether a file is a compressed tar archive by its name.
fn is_compressed(file: &Path) -> bool {
    let packed = ["gz", "bz2", "xz", "zst"].contains(&ending(file).as_str());
    ending(file) == "tgz" || (packed && ending(&file.with_extension("")) == "tar")
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
        // Names only group members; no file is ever written under them.
        let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let start = path.rfind('/').map_or(0, |slash| slash + 1);
        let dot = path[start..].find('.').map(|dot| start + dot);
        if member.header().entry_type().is_dir() {
            continue;
        }
        let reason = match (litter(Path::new(&path)), dot) {
            (Some(reason), _) => Some(reason),
            (None, _) if !member.header().entry_type().is_file() => Some("it is a link or a device"),
            (None, None) => Some("its name has no ending"),
            (None, Some(_)) => None,
        };
        if let Some(reason) = reason {
            let member = FileLeftOut { file: format!("{name}/{path}"), reason: reason.to_owned() };
            if emit(Row::LeftOut(member)).is_break() {
                return Ok(());
            }
            continue;
        }
        let Some(dot) = dot else { continue };
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

impl Sample {
    fn into_row(mut self, source: Source) -> Row {
        if let Some((reason, detail)) = self.problem {
            return Row::dropped(reason, source, detail);
        }
        let prompt = match self.prompt() {
            Ok(prompt) => prompt,
            Err((reason, detail)) => return Row::dropped(reason, source, detail),
        };
        let members = self.members.keys().cloned().collect::<Vec<_>>().join(", ");
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
                format!("has no image {first} or no image {second}: its members are {members}"),
            );
        };
        let (winner, loser) = if swapped { (second, first) } else { (first, second) };
        Row::Pair(PreferencePair {
            prompt,
            winner,
            loser: Some(loser),
            models: [None, None],
            source,
            list: None,
        })
    }

    fn prompt(&self) -> Result<String, Unusable> {
        let texts = ["txt", "prompt.txt", "caption.txt", "original_prompt.txt"];
        let text = texts.iter().find_map(|name| Some((*name, self.members.get(*name)?)));
        let of = |name: &str, bytes: &[u8]| {
            decode_text(bytes).map_err(|problem| (Reason::NoPrompt, format!("{name} {problem}")))
        };
        let prompt = match (text, self.members.get("json")) {
            (Some((name, text)), _) => of(name, text)?,
            (None, Some(json)) => {
                let row = JsonRow::parse(of("json", json)?.as_bytes());
                let text = row.and_then(|row| Ok(row.text(&CAPTION_KEYS, Reason::NoPrompt)?.to_owned()));
                text.map_err(|(reason, problem)| (reason, format!("json {problem}")))?
            }
            (None, None) => {
                let problem = "has neither a txt nor a json member with a prompt";
                return Err((Reason::NoPrompt, problem.to_owned()));
            }
        };
        match prompt.trim() {
            "" => Err((Reason::NoPrompt, "the prompt is empty".to_owned())),
            prompt => Ok(prompt.to_owned()),
        }
    }

    fn number(&self, name: &str) -> Option<f64> {
        let text = ["", ".txt", ".cls"].iter().find_map(|end| self.members.get(&format!("{name}{end}")))?;
        let text = decode_text(text).ok()?.trim().to_lowercase();
        match text.as_str() {
            "true" => Some(1.0),
            "false" => Some(0.0),
            number => number.parse().ok(),
        }
    }

    fn image(&mut self, name: &str) -> Option<Bytes> {
        let with_ending = IMAGES.iter().map(|ending| format!("{name}.{ending}"));
        std::iter::once(name.to_owned()).chain(with_ending).find_map(|name| self.members.remove(&name))
    }
}
