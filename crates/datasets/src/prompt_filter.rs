//! Refuses prompts by words and phrases, also when their letters are disguised (accents, look-alikes, digits, spaces).

use domain::data::PromptFilterSpec;
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Terms of sexual content and gore. The list is short on purpose; specs add terms of their own.
const BUILT_IN: [&str; 41] = [
    "beheaded",
    "beheading",
    "blowjob",
    "boobs",
    "breasts",
    "cum",
    "decapitated",
    "disembowelled",
    "dismembered",
    "erotic",
    "erotica",
    "fetish",
    "fully undressed",
    "genitals",
    "gore",
    "gory",
    "hardcore",
    "hentai",
    "intercourse",
    "lingerie",
    "loli",
    "masturbating",
    "masturbation",
    "mutilated",
    "naked",
    "nipples",
    "no clothes",
    "nsfw",
    "nude",
    "nudes",
    "nudity",
    "orgasm",
    "orgy",
    "penis",
    "porn",
    "pornographic",
    "pornography",
    "sex",
    "sexual",
    "topless",
    "vagina",
];

/// A list of refused terms.
#[derive(Clone, Debug)]
pub struct PromptFilter {
    /// The terms, by their first word.
    terms: HashMap<String, Vec<Term>>,
}

#[derive(Clone, Debug)]
struct Term {
    /// As written in the list, for reports.
    written: String,
    words: Vec<String>,
}

impl PromptFilter {
    /// A filter of the spec's terms, and of the built-in ones unless the spec turns them off.
    #[must_use]
    pub fn new(spec: &PromptFilterSpec) -> Self {
        let built_in = BUILT_IN.iter().filter(|_| spec.built_in).copied();
        let mut terms: HashMap<String, Vec<Term>> = HashMap::new();
        for term in built_in.chain(spec.terms.iter().map(String::as_str)) {
            let words = words(&plain(term));
            if let Some(first) = words.first() {
                terms.entry(first.clone()).or_default().push(Term { written: term.to_owned(), words });
            }
        }
        Self { terms }
    }

    /// The first refused term that the prompt contains as whole words; `None` if the prompt passes.
    #[must_use]
    pub fn refuses(&self, prompt: &str) -> Option<&str> {
        let plain = plain(prompt);
        let as_written = words(&plain);
        // 1 may be read as i or as l.
        let readings =
            [as_written.clone(), words(&digits_read(&plain, 'i')), words(&digits_read(&plain, 'l'))];
        let spelled = readings.iter().map(|words| joined(words)).collect::<Vec<_>>();
        readings.iter().chain(&spelled).find_map(|words| self.find(words))
    }

    fn find(&self, words: &[String]) -> Option<&str> {
        words.iter().enumerate().find_map(|(at, word)| {
            let terms = self.terms.get(word)?;
            let found = terms.iter().find(|term| words[at..].starts_with(&term.words))?;
            Some(found.written.as_str())
        })
    }
}

/// Lower case, without accents and invisible characters, with look-alikes from other alphabets replaced by Latin
/// letters.
fn plain(text: &str) -> String {
    text.nfkd()
        .filter(|&c| !is_combining_mark(c) && !is_invisible(c))
        .flat_map(char::to_lowercase)
        .map(look_alike)
        .collect()
}

/// Zero-width characters: soft hyphens, joiners, direction marks, variation selectors, tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{2069}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E01EF}')
}

/// The Latin letter that a lower-case Cyrillic, Greek or stroked letter looks like.
fn look_alike(c: char) -> char {
    match c {
        'а' | 'α' => 'a',
        'в' | 'β' => 'b',
        'с' | 'ϲ' => 'c',
        'ԁ' | 'đ' => 'd',
        'е' | 'ε' => 'e',
        'ɡ' => 'g',
        'һ' | 'ħ' => 'h',
        'і' | 'ı' | 'ι' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'ӏ' | 'ł' => 'l',
        'м' => 'm',
        'п' | 'η' => 'n',
        'о' | 'ο' | 'σ' | 'ø' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' | 'ц' => 'u',
        'ν' => 'v',
        'ԝ' | 'ω' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        other => other,
    }
}

/// Replaces digits and signs by the letters that they stand for where they touch a letter: `n4ked`, `p0rn`, `$ex`.
/// `one` is the letter for the digit 1.
fn digits_read(text: &str, one: char) -> String {
    let letters: Vec<char> = text.chars().collect();
    let stands_for = |c: char| match c {
        '0' => 'o',
        '1' | '|' => one,
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        '8' => 'b',
        '!' => 'i',
        other => other,
    };
    let is_letter = |at: Option<&char>| at.is_some_and(|c| c.is_alphabetic());
    // Signs at the end of a word are punctuation.
    let belongs = |at: usize| {
        let sign = !letters[at].is_alphanumeric();
        let reaches = |step: isize| {
            let mut place = at as isize + step;
            while let Some(&c) = usize::try_from(place).ok().and_then(|place| letters.get(place)) {
                if c.is_alphabetic() {
                    return true;
                }
                if stands_for(c) == c {
                    return false;
                }
                place += step;
            }
            false
        };
        if sign { reaches(1) } else { reaches(1) || reaches(-1) || is_letter(letters.get(at + 1)) }
    };
    letters
        .iter()
        .enumerate()
        .map(|(at, &c)| if stands_for(c) != c && belongs(at) { stands_for(c) } else { c })
        .collect()
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Joins runs of at least three single letters into words: `n u d e`, `n.u.d.e`.
fn joined(words: &[String]) -> Vec<String> {
    let single = |word: &String| word.chars().count() == 1;
    words
        .chunk_by(|a, b| single(a) && single(b))
        .flat_map(|run| if run.len() >= 3 { vec![run.concat()] } else { run.to_vec() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{BUILT_IN, PromptFilter};
    use domain::data::PromptFilterSpec;

    fn of(terms: &[&str]) -> PromptFilter {
        let terms = terms.iter().map(ToString::to_string).collect();
        PromptFilter::new(&PromptFilterSpec { built_in: false, terms })
    }

    #[test]
    fn terms_match_whole_words_only() {
        let filter = of(&["sex", "cum", "ass", "blood bath"]);
        for passes in [
            "Essex in spring",
            "a sextant",
            "sussex",
            "documents, cumulus clouds",
            "grass and glass",
            "Assassin",
            "a bath of blood",
            "blood, then a bathtub",
            "sexagenarian",
            "",
        ] {
            assert_eq!(filter.refuses(passes), None, "{passes}");
        }
        for refused in [
            "sex",
            "Sex.",
            "a photo (sex)",
            "SEX!",
            "no-sex-please",
            "sex_scene, 4k",
            "blood bath",
            "Blood,\n BATH!",
        ] {
            assert!(filter.refuses(refused).is_some(), "{refused}");
        }
    }

    #[test]
    fn disguised_letters_are_recognised() {
        let filter = of(&["naked", "porn", "nipple", "sex"]);
        for refused in [
            "ｎａｋｅｄ",
            "𝓷𝓪𝓴𝓮𝓭",
            "nàkéd",
            "na\u{200B}ked",
            "n\u{AD}aked",
            "nаkеd",
            "n4k3d",
            "n@ked",
            "p0rn",
            "n1pple",
            "nipp1e",
            "$ex",
            "n a k e d",
            "n.a.k.e.d",
            "ⓝⓐⓚⓔⓓ",
            "PORN",
            "рorn",
            "s3x",
        ] {
            assert!(filter.refuses(refused).is_some(), "{refused}");
        }
        for passes in ["35 mm, f1.8, 4k, 8k", "r 2 d 2", "rornp", "snake den", "1980s, $5", "wow! a cat"] {
            assert_eq!(filter.refuses(passes), None, "{passes}");
        }
    }

    #[test]
    fn the_built_in_list_can_be_turned_off() {
        assert_eq!(
            PromptFilter::new(&PromptFilterSpec::default()).refuses("a nude, oil on canvas"),
            Some("nude")
        );
        assert_eq!(of(&["dog"]).refuses("a nude, oil on canvas"), None);
        assert!(BUILT_IN.is_sorted());
        assert_eq!(of(&["!!"]).refuses("!!"), None, "a term without letters refuses nothing");
    }
}
