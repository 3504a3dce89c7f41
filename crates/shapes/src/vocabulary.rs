//! The byte-pair vocabulary of the captions in the format of CLIP's tokenizer. Every word of the world is one token.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::world::{Background, Colour, Relation, Shape, Size};

/// The token before a caption.
pub const START: &str = "<|startoftext|>";
/// The token after a caption; also the padding.
pub const END: &str = "<|endoftext|>";
/// The suffix of a word's last symbol.
const WORD_END: &str = "</w>";

/// Words of captions and of likely prompts, in addition to the names of shapes, colours, backgrounds, sizes and
/// relations. The bundled model was trained with this list: a change means training it anew.
const OTHER_WORDS: &str = "a an on in the of and with , background picture style painting pencil sketch winter snow \
                           van gogh photo drawing image";

/// Every word that is one token, sorted.
fn words() -> Vec<&'static str> {
    fn of_names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<&'static str> {
        all.iter().flat_map(|&item| name(item).split(' ')).collect()
    }
    let mut words: Vec<&str> = [
        of_names(Shape::ALL, Shape::name),
        of_names(Colour::ALL, Colour::name),
        of_names(Background::ALL, Background::name),
        of_names(Size::ALL, Size::name),
        of_names(Relation::ALL, Relation::name),
        OTHER_WORDS.split(' ').collect(),
    ]
    .concat();
    words.sort_unstable();
    words.dedup();
    words
}

/// The characters that stand for the 256 bytes, in CLIP's order: printable Latin-1 characters stand for themselves, the
/// other bytes for characters from U+0100 on.
fn byte_symbols() -> Vec<String> {
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let moved = (0..256u32).filter(|byte| !printable(byte)).zip(0x100u32..).map(|(_, code)| code);
    (0..256).filter(printable).chain(moved).filter_map(char::from_u32).map(String::from).collect()
}

/// The merges in order of rank: byte-pair encoding learnt on the words, the most frequent pair first (alphabetical
/// order breaks ties), until each word is one token. Encoding applies the merges in the order in which they were
/// learnt, so it reaches the same tokens.
fn merges() -> Vec<(String, String)> {
    let mut spelled: Vec<Vec<String>> = words().into_iter().map(spell).collect();
    let mut merges = Vec::new();
    loop {
        let mut counts = BTreeMap::<(&str, &str), usize>::new();
        for pair in spelled.iter().flat_map(|word| word.windows(2)) {
            *counts.entry((&pair[0], &pair[1])).or_default() += 1;
        }
        // `max_by` returns the last of equal maxima: reversed, the first in alphabetical order.
        let best = counts.into_iter().rev().max_by(|(_, one), (_, other)| one.cmp(other));
        let Some(((left, right), _)) = best else { return merges };
        let merge = (left.to_owned(), right.to_owned());
        for word in &mut spelled {
            apply(word, &merge);
        }
        merges.push(merge);
    }
}

/// The symbols of an ASCII word: its letters, the last one with the suffix.
fn spell(word: &str) -> Vec<String> {
    let mut symbols: Vec<String> = word.chars().map(String::from).collect();
    if let Some(last) = symbols.last_mut() {
        last.push_str(WORD_END);
    }
    symbols
}

fn apply(word: &mut Vec<String>, (left, right): &(String, String)) {
    let mut index = 0;
    while index + 1 < word.len() {
        if word[index] == *left && word[index + 1] == *right {
            let second = word.remove(index + 1);
            word[index].push_str(&second);
        }
        index += 1;
    }
}

/// Every token, at the index of its id. Start and end have the two highest ids, because CLIP pools at the highest id of
/// a text.
#[must_use]
pub fn tokens() -> Vec<String> {
    let bytes = byte_symbols();
    let endings = bytes.iter().map(|symbol| format!("{symbol}{WORD_END}")).collect();
    let merged = merges().into_iter().map(|(left, right)| left + &right).collect();
    let marks = vec![START.to_owned(), END.to_owned()];
    [bytes.clone(), endings, merged, marks].concat()
}

/// The content of `vocab.json`: an object of tokens and their ids.
#[must_use]
pub fn vocab_json() -> String {
    let ids: Map<String, Value> =
        tokens().into_iter().zip(0u32..).map(|(token, id)| (token, id.into())).collect();
    Value::Object(ids).to_string()
}

/// The content of `merges.txt`: a version line, then one merge per line.
#[must_use]
pub fn merges_txt() -> String {
    let lines = merges().into_iter().map(|(left, right)| format!("{left} {right}\n"));
    std::iter::once("#version: 0.2\n".to_owned()).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::world::{Kind, Split, scene};

    /// Byte-pair encoding as tokenizers do it: from the files alone, always the merge of lowest rank.
    fn encode(word: &str, ranks: &HashMap<(String, String), usize>) -> Vec<String> {
        let mut symbols = spell(word);
        loop {
            let rank = |pair: &[String]| ranks.get(&(pair[0].clone(), pair[1].clone())).copied();
            let Some((merge, _)) = symbols
                .windows(2)
                .filter_map(|pair| Some(((pair[0].clone(), pair[1].clone()), rank(pair)?)))
                .min_by_key(|(_, rank)| *rank)
            else {
                return symbols;
            };
            apply(&mut symbols, &merge);
        }
    }

    fn ranks() -> HashMap<(String, String), usize> {
        let split =
            |line: &str| line.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()));
        merges_txt().lines().skip(1).filter_map(split).zip(0..).collect()
    }

    #[test]
    fn every_word_of_every_caption_is_one_token_of_the_vocabulary() {
        let ids: HashMap<String, u32> = serde_json::from_str(&vocab_json()).unwrap();
        let captions =
            (0..2000).map(|seed| scene(seed, Split::Train, Kind::Mixed).caption().replace(',', " ,"));
        let spoken: HashSet<String> =
            captions.flat_map(|caption| caption.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
        let known: HashSet<String> = words().into_iter().map(str::to_owned).collect();
        assert!(spoken.is_subset(&known), "{:?}", spoken.difference(&known));
        for word in known {
            let token = format!("{word}{WORD_END}");
            assert!(ids.contains_key(&token));
            assert_eq!(encode(&word, &ranks()), [token]);
        }
    }

    #[test]
    fn unknown_words_are_split_into_known_tokens() {
        let ids: HashMap<String, u32> = serde_json::from_str(&vocab_json()).unwrap();
        let pieces = encode("quizzical", &ranks());
        assert!(pieces.len() > 1);
        assert!(pieces.iter().all(|piece| ids.contains_key(piece)));
    }

    #[test]
    fn ids_begin_with_the_bytes_and_end_with_start_and_end() {
        let tokens = tokens();
        let distinct: HashSet<&String> = tokens.iter().collect();
        assert_eq!(distinct.len(), tokens.len());
        assert_eq!(tokens.len(), 512 + merges().len() + 2);
        assert_eq!(
            (tokens[0].as_str(), tokens[255].as_str(), tokens[256].as_str()),
            ("!", "\u{143}", "!</w>")
        );
        assert_eq!(tokens[tokens.len() - 2..], [START, END]);
    }
}
