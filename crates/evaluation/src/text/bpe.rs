//! CLIP's byte-pair encoding, from the file that OpenAI's and OpenCLIP's packages carry or from transformers' two.

use diffusion::{Error, Result};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

const WORD_END: &str = "</w>";
/// Merges that the packages' tokenizers take from their file, which has more.
const MERGES: usize = 49152 - 256 - 2;
/// No vocabulary is larger; a file from anywhere may unpack to anything.
const LARGEST_FILE: u64 = 64 << 20;

/// Words to ids.
#[derive(Debug)]
pub struct BytePairs {
    /// Ids of single bytes, within a word and at its end.
    inner: Vec<u32>,
    last: Vec<u32>,
    /// Rank and result of merging two tokens.
    merges: HashMap<(u32, u32), (usize, u32)>,
    /// The ids of the start and of the end of a text.
    pub(super) start: u32,
    pub(super) end: u32,
}

impl BytePairs {
    /// Reads `bpe_simple_vocab_16e6.txt.gz` (also unpacked), or a folder with `vocab.json` and `merges.txt`, as every
    /// Stable Diffusion repository has in `tokenizer/`: they are the same vocabulary.
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let text = |path: &Path| {
            read(path).and_then(|b| String::from_utf8(b).map_err(|_| bad(path, "is no UTF-8 text")))
        };
        if path.is_dir() {
            let (vocabulary_file, merges_file) = (path.join("vocab.json"), path.join("merges.txt"));
            let vocabulary: HashMap<String, u32> = serde_json::from_str(&text(&vocabulary_file)?)
                .map_err(|e| bad(&vocabulary_file, &format!("is no vocabulary: {e}")))?;
            let merges = text(&merges_file)?;
            let lines =
                merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty());
            let merges = pairs(lines, &merges_file)?;
            return Self::new(&vocabulary, &merges, ["<|startoftext|>", "<|endoftext|>"], path);
        }
        let all = text(path)?;
        let lines = all.split('\n').skip(1).take(MERGES).filter(|line| !line.trim().is_empty());
        let merges = pairs(lines, path)?;
        let symbols = byte_symbols();
        let specials = ["<start>", "<end>"];
        let tokens = (symbols.iter().map(|&(_, c)| c.to_string()))
            .chain(symbols.iter().map(|(_, c)| format!("{c}{WORD_END}")))
            .chain(merges.iter().map(|(a, b)| format!("{a}{b}")))
            .chain(specials.map(str::to_owned));
        // Where two merges make the same token, the last has it, as in a Python dictionary.
        let vocabulary: HashMap<String, u32> = tokens.zip(0..).collect();
        Self::new(&vocabulary, &merges, specials, path)
    }

    fn new(
        vocabulary: &HashMap<String, u32>,
        merges: &[(String, String)],
        [start, end]: [&str; 2],
        origin: &Path,
    ) -> Result<Self> {
        let id = |token: &str| {
            vocabulary
                .get(token)
                .copied()
                .ok_or_else(|| bad(origin, &format!("has no token {token:?}: it is no vocabulary of CLIP")))
        };
        let (mut inner, mut last) = (vec![0; 256], vec![0; 256]);
        for (byte, c) in byte_symbols() {
            inner[usize::from(byte)] = id(&c.to_string())?;
            last[usize::from(byte)] = id(&format!("{c}{WORD_END}"))?;
        }
        let mut ranks = HashMap::with_capacity(merges.len());
        for (rank, (a, b)) in merges.iter().enumerate() {
            ranks.insert((id(a)?, id(b)?), (rank, id(&format!("{a}{b}"))?));
        }
        Ok(Self { inner, last, merges: ranks, start: id(start)?, end: id(end)? })
    }

    /// Appends the ids of a word.
    pub(super) fn encode(&self, word: &str, ids: &mut Vec<u32>) {
        let Some((&last, inner)) = word.as_bytes().split_last() else { return };
        let mut tokens: Vec<u32> = inner.iter().map(|&b| self.inner[usize::from(b)]).collect();
        tokens.push(self.last[usize::from(last)]);
        loop {
            let best =
                tokens.windows(2).filter_map(|p| Some(((p[0], p[1]), self.merges.get(&(p[0], p[1]))?)));
            let Some((pair, &(_, merged))) = best.min_by_key(|(_, (rank, _))| *rank) else { break };
            let mut to = 0;
            let mut from = 0;
            while from < tokens.len() {
                let is_pair = from + 1 < tokens.len() && (tokens[from], tokens[from + 1]) == pair;
                tokens[to] = if is_pair { merged } else { tokens[from] };
                from += if is_pair { 2 } else { 1 };
                to += 1;
            }
            tokens.truncate(to);
        }
        ids.extend(tokens);
    }
}

fn bad(path: &Path, problem: &str) -> Error {
    Error::Format { file: path.to_owned(), problem: problem.to_owned() }
}

/// A file's bytes, unpacked if they are packed.
fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| Error::File { file: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).take(LARGEST_FILE).read_to_end(&mut unpacked).map_err(failed)?;
    Ok(unpacked)
}

fn pairs<'a>(lines: impl Iterator<Item = &'a str>, file: &Path) -> Result<Vec<(String, String)>> {
    let pair = |line: &'a str| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(a), Some(b), None) => Ok((a.to_owned(), b.to_owned())),
            _ => Err(bad(file, &format!("has a merge {line:?}, which is not two tokens"))),
        }
    };
    lines.map(pair).collect()
}

/// The character that stands for each byte, in the vocabulary's order: printable ones for themselves, the others moved up.
fn byte_symbols() -> Vec<(u8, char)> {
    let is_printable = |b: u8| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let printable = (0..=255).filter(|&b| is_printable(b)).map(|b| (b, char::from(b)));
    let moved = (0..=255).filter(|&b| !is_printable(b)).zip('\u{100}'..);
    printable.chain(moved).collect()
}
