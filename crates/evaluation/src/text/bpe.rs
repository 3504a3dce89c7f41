//! CLIP's byte-pair encoding, from the vocabulary file of OpenAI's and OpenCLIP's packages or from the two files of
//! transformers. The merges are applied by the `tokenizers` crate, which has no reader for the packages' file.

use diffusion::{Error, Result};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Vocab};

const WORD_END: &str = "</w>";
/// The number of merges that the packages' tokenizers take from their file, which has more.
const MERGES: usize = 49152 - 256 - 2;
/// Largest accepted decompressed vocabulary in bytes; CLIP's has 3 MB.
const LARGEST_FILE: u64 = 64 << 20;

/// Encodes words as ids.
#[derive(Debug)]
pub(super) struct BytePairs {
    model: BPE,
    /// The character that stands for each byte.
    symbols: Vec<char>,
    /// The id of the token before a text.
    pub(super) start: u32,
    /// The id of the token after a text.
    pub(super) end: u32,
}

impl BytePairs {
    /// Reads `bpe_simple_vocab_16e6.txt.gz` (compressed or not), or a folder with `vocab.json` and `merges.txt` such as
    /// the folder `tokenizer` of Stable Diffusion repositories. Both contain the same vocabulary.
    ///
    /// # Errors
    /// Fails if a file is missing or is not a vocabulary of CLIP.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.is_dir() { Self::open_folder(path) } else { Self::open_file(path) }
    }

    fn open_folder(folder: &Path) -> Result<Self> {
        let (vocabulary_file, merges_file) = (folder.join("vocab.json"), folder.join("merges.txt"));
        let vocabulary: HashMap<String, u32> = serde_json::from_str(&read(&vocabulary_file)?)
            .map_err(|e| bad(&vocabulary_file, format!("is not a JSON object of tokens and ids: {e}")))?;
        let merges = read(&merges_file)?;
        let lines = merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty());
        let merges = parse_merges(lines, &merges_file)?;
        let vocabulary = vocabulary.into_iter().collect();
        Self::new(vocabulary, merges, ["<|startoftext|>", "<|endoftext|>"], folder)
    }

    fn open_file(file: &Path) -> Result<Self> {
        let text = read(file)?;
        let lines = text.split('\n').skip(1).take(MERGES).filter(|line| !line.trim().is_empty());
        let merges = parse_merges(lines, file)?;
        let symbols = byte_symbols();
        // The file names no special tokens; these names cannot occur in a text.
        let special = ["<start>", "<end>"];
        let tokens = (symbols.iter().map(|&(_, symbol)| symbol.to_string()))
            .chain(symbols.iter().map(|(_, symbol)| format!("{symbol}{WORD_END}")))
            .chain(merges.iter().map(|(left, right)| format!("{left}{right}")))
            .chain(special.map(str::to_owned));
        // If two merges make the same token, it has the later id, as in the packages' dictionary.
        let vocabulary = tokens.zip(0..).collect();
        Self::new(vocabulary, merges, special, file)
    }

    fn new(
        vocabulary: Vocab,
        merges: Vec<(String, String)>,
        [start, end]: [&str; 2],
        origin: &Path,
    ) -> Result<Self> {
        let id = |token: &str| {
            let missing =
                || bad(origin, format!("has no token {token:?}, so it is not a vocabulary of CLIP"));
            vocabulary.get(token).copied().ok_or_else(missing)
        };
        let mut symbols = vec![char::default(); 256];
        for (byte, symbol) in byte_symbols() {
            // Without them, bytes of a text would be dropped silently.
            id(&symbol.to_string())?;
            id(&format!("{symbol}{WORD_END}"))?;
            symbols[usize::from(byte)] = symbol;
        }
        let (start, end) = (id(start)?, id(end)?);
        let model = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .end_of_word_suffix(WORD_END.to_owned())
            .build()
            .map_err(|e| bad(origin, format!("is not a vocabulary of CLIP: {e}")))?;
        Ok(Self { model, symbols, start, end })
    }

    /// Appends the ids of a word.
    pub(super) fn encode(&self, word: &str, ids: &mut Vec<u32>) -> Result<()> {
        let symbols: String = word.bytes().map(|byte| self.symbols[usize::from(byte)]).collect();
        let tokens = self.model.tokenize(&symbols).map_err(|e| bad(Path::new("prompt"), e.to_string()))?;
        ids.extend(tokens.into_iter().map(|token| token.id));
        Ok(())
    }
}

fn bad(path: &Path, problem: String) -> Error {
    Error::Format { file: path.to_owned(), problem }
}

/// The text of a file, decompressed if it is compressed by gzip.
fn read(path: &Path) -> Result<String> {
    let failed = |source| Error::File { file: path.to_owned(), source };
    let mut bytes = std::fs::read(path).map_err(failed)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut decompressed = Vec::new();
        let decoder = flate2::read::GzDecoder::new(&bytes[..]);
        decoder.take(LARGEST_FILE).read_to_end(&mut decompressed).map_err(failed)?;
        bytes = decompressed;
    }
    let text = String::from_utf8(bytes).map_err(|_| bad(path, "is not UTF-8 text".to_owned()))?;
    // Some editors put a byte order mark before a text.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn parse_merges<'a>(lines: impl Iterator<Item = &'a str>, file: &Path) -> Result<Vec<(String, String)>> {
    let pair = |line: &'a str| {
        let mut tokens = line.split_whitespace();
        match (tokens.next(), tokens.next(), tokens.next()) {
            (Some(left), Some(right), None) => Ok((left.to_owned(), right.to_owned())),
            _ => Err(bad(file, format!("has the merge {line:?}, which is not two tokens"))),
        }
    };
    lines.map(pair).collect()
}

/// The bytes and the characters that stand for them, in the order of CLIP's vocabulary: printable Latin-1 characters
/// stand for themselves, the other bytes for characters from U+0100 on.
fn byte_symbols() -> Vec<(u8, char)> {
    let is_printable = |b: u8| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let printable = (0..=255).filter(|&b| is_printable(b)).map(|b| (b, char::from(b)));
    let moved = (0..=255).filter(|&b| !is_printable(b)).zip('\u{100}'..);
    printable.chain(moved).collect()
}
