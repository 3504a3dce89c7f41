//! The files of a tokenizer's folder: the vocabulary with its merges, and the tokens that were added to it. They are read as
//! transformers 5 reads them.

use crate::{Error, Result, config};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tokenizers::AddedToken;

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// Vocabulary, merges and added tokens in one file, which transformers 5 writes instead of the two others.
const WHOLE: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const ADDED_TOKENS: &str = "added_tokens.json";

/// What the files of a tokenizer say.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// The id of every token, added ones included.
    pub(super) ids: BTreeMap<String, u32>,
    /// Pairs of tokens that are merged, first ones first.
    pub(super) merges: Vec<(String, String)>,
    /// Tokens that are recognised in a text before it is divided into words.
    pub(super) added: Vec<AddedToken>,
    /// The tokens of the start, the end, unknown bytes and padding.
    pub(super) special: [String; 4],
    /// The number of tokens of a sequence, if the config states it.
    pub(super) length: Option<f64>,
}

/// The fields of `tokenizer_config.json` that are used. `special_tokens_map.json` has a part of them.
#[derive(Debug, Default, Deserialize)]
struct Settings {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    unk_token: Option<Token>,
    pad_token: Option<Token>,
    #[serde(alias = "extra_special_tokens", default)]
    additional_special_tokens: Option<Further>,
    model_max_length: Option<f64>,
    added_tokens_decoder: Option<BTreeMap<String, Details>>,
}

/// Further special tokens: a list, or in newer files an object by purpose.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Further {
    List(Vec<Token>),
    Named(BTreeMap<String, Token>),
}

/// A token, as text or as an object.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Token {
    Plain(String),
    Full(Details),
}

/// A token and how it is matched.
#[derive(Clone, Debug, Deserialize)]
struct Details {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
    /// Only in `tokenizer.json`.
    id: Option<u32>,
}

impl Details {
    fn token(&self, special: bool) -> AddedToken {
        AddedToken {
            content: self.content.clone(),
            single_word: self.single_word,
            lstrip: self.lstrip,
            rstrip: self.rstrip,
            normalized: self.normalized.unwrap_or(!special),
            special,
        }
    }
}

impl Token {
    fn content(&self) -> &str {
        match self {
            Self::Plain(content) => content,
            Self::Full(details) => &details.content,
        }
    }

    /// As a special token.
    fn special(&self) -> AddedToken {
        match self {
            Self::Plain(content) => AddedToken::from(content, true),
            Self::Full(details) => details.token(true),
        }
    }
}

/// The part of `tokenizer.json` that is used. transformers' class for CLIP ignores its other parts too.
#[derive(Debug, Deserialize)]
struct Whole {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<Details>,
}

#[derive(Debug, Deserialize)]
struct Model {
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

impl Vocabulary {
    /// Reads the files of a folder.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let (mut ids, merges, stored) = tokens(folder)?;
        let (settings, listed, source) = settings(folder, stored)?;
        let named = [
            settings.bos_token.unwrap_or_else(|| Token::Plain(START.to_owned())),
            settings.eos_token.unwrap_or_else(|| Token::Plain(END.to_owned())),
            settings.unk_token.unwrap_or_else(|| Token::Plain(END.to_owned())),
            settings.pad_token.unwrap_or_else(|| Token::Plain(END.to_owned())),
        ];
        let is_named = |content: &str| named.iter().any(|token| token.content() == content);
        let mut added: Vec<AddedToken> = Vec::new();
        let mut holders: BTreeMap<u32, String> = ids.iter().map(|(token, id)| (*id, token.clone())).collect();
        for (id, details) in &listed {
            let content = &details.content;
            let problem = match (ids.get(content), holders.get(id)) {
                (Some(other), _) if other != id => Some(format!("the vocabulary gives it the id {other}")),
                (None, Some(holder)) => Some(format!("that is the id of {holder:?}")),
                _ => None,
            };
            if let Some(problem) = problem {
                let problem = format!("the added token {content:?} has the id {id}, but {problem}");
                return Err(Error::format(&folder.join(source), problem));
            }
            ids.insert(content.clone(), *id);
            holders.insert(*id, content.clone());
            added.push(details.token(details.special || is_named(content)));
        }
        let further = match settings.additional_special_tokens {
            None => Vec::new(),
            Some(Further::List(list)) => list,
            Some(Further::Named(named)) => named.into_values().collect(),
        };
        let known: BTreeSet<String> = added.iter().map(|token| token.content.clone()).collect();
        for token in named.iter().chain(&further).filter(|token| !known.contains(token.content())) {
            added.push(token.special());
        }
        // Special tokens that have no id yet get the next ones.
        for token in &further {
            let next = ids.values().max().map_or(0, |last| last + 1);
            ids.entry(token.content().to_owned()).or_insert(next);
        }
        let special = named.map(|token| token.content().to_owned());
        for name in &special {
            if !ids.contains_key(name) {
                let file = if folder.join(WHOLE).is_file() { WHOLE } else { VOCABULARY };
                return Err(Error::format(folder, format!("{file}: token {name:?} is missing")));
            }
        }
        Ok(Self { ids, merges, added, special, length: settings.model_max_length })
    }

    /// The files of a folder that are read.
    pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
        let tokens: &[&str] = if folder.join(WHOLE).is_file() { &[WHOLE] } else { &[VOCABULARY, MERGES] };
        let names = tokens.iter().chain(&[CONFIG, SPECIAL_TOKENS, ADDED_TOKENS]);
        names.map(|name| folder.join(name)).filter(|file| file.is_file()).collect()
    }
}

/// The vocabulary, its merges, and the added tokens that `tokenizer.json` lists.
type Tokens = (BTreeMap<String, u32>, Vec<(String, String)>, Vec<Details>);

fn tokens(folder: &Path) -> Result<Tokens> {
    let whole = folder.join(WHOLE);
    if whole.is_file() {
        let Whole { model, added_tokens } = config::read(&whole)?;
        let pair = |merge: Merge| match merge {
            Merge::Pair(first, second) => Some((first, second)),
            Merge::Line(line) => {
                line.split_once(' ').map(|(first, second)| (first.to_owned(), second.to_owned()))
            }
        };
        let merges: Option<Vec<_>> = model.merges.into_iter().map(pair).collect();
        let merges = merges
            .ok_or_else(|| Error::format(&whole, "model.merges: has an entry that is no pair of tokens"))?;
        return Ok((model.vocab, merges, added_tokens));
    }
    let [vocabulary, merges] = [VOCABULARY, MERGES].map(|name| folder.join(name));
    for file in [&vocabulary, &merges] {
        if !file.is_file() {
            let problem = format!("is missing: a tokenizer has {VOCABULARY} and {MERGES}, or {WHOLE}");
            return Err(Error::format(file, problem));
        }
    }
    let text = config::read_text(&merges)?;
    let mut pairs = Vec::new();
    let lines = text.lines().enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.starts_with("#version") && !line.is_empty()) {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [first, second] => pairs.push((first.to_owned(), second.to_owned())),
            _ => return Err(Error::format(&merges, format!("line {} is no pair of tokens", number + 1))),
        }
    }
    Ok((config::read(&vocabulary)?, pairs, Vec::new()))
}

/// The settings, the added tokens by id, and the name of the file that lists these.
fn settings(folder: &Path, stored: Vec<Details>) -> Result<(Settings, BTreeMap<u32, Details>, &'static str)> {
    let [config, special, added] = [CONFIG, SPECIAL_TOKENS, ADDED_TOKENS].map(|name| folder.join(name));
    let mut settings: Settings = if config.is_file() { config::read(&config)? } else { Settings::default() };
    if let Some(tokens) = settings.added_tokens_decoder.take() {
        let listed = tokens.into_iter().map(|(id, details)| {
            let number = id.parse();
            let problem =
                || Error::format(&config, format!("added_tokens_decoder: {id:?} is no id of a token"));
            number.map(|id| (id, details)).map_err(|_| problem())
        });
        return Ok((settings, listed.collect::<Result<_>>()?, CONFIG));
    }
    // In old repositories, which have both files, transformers uses the tokens of special_tokens_map.json: SD 2.1 pads with `!`
    // although its tokenizer_config.json names the end token. Newer repositories list added tokens in the config.
    if special.is_file() {
        let of: Settings = config::read(&special)?;
        settings.bos_token = of.bos_token.or(settings.bos_token);
        settings.eos_token = of.eos_token.or(settings.eos_token);
        settings.unk_token = of.unk_token.or(settings.unk_token);
        settings.pad_token = of.pad_token.or(settings.pad_token);
        settings.additional_special_tokens =
            of.additional_special_tokens.or(settings.additional_special_tokens);
    }
    let mut listed = BTreeMap::new();
    let mut source = WHOLE;
    if added.is_file() {
        source = ADDED_TOKENS;
        let tokens: BTreeMap<String, u32> = config::read(&added)?;
        let details = |content| Details {
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: None,
            special: false,
            id: None,
        };
        for (content, id) in tokens {
            if let Some(Details { content: other, .. }) = listed.insert(id, details(content.clone())) {
                let problem = format!("{other:?} and {content:?} have the same id, {id}");
                return Err(Error::format(&added, problem));
            }
        }
    }
    listed.extend(stored.into_iter().filter_map(|details| Some((details.id?, details))));
    Ok((settings, listed, source))
}
