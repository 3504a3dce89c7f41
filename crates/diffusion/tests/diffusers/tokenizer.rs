//! Token ids against the `CLIPTokenizer` of transformers 5, which is the fast tokenizer of transformers 4. `docs/conditioning.md`
//! explains the choice and how the slow tokenizer differs.

use crate::fixture::{folder, json};
use diffusion::tokenizer::Tokenizer;
use serde_json::Value;

fn check(tokenizer: &Tokenizer, cases: &Value) {
    let cases = cases.as_array().expect("a list");
    assert!(!cases.is_empty());
    let mut wrong = Vec::new();
    for case in cases {
        let prompt = case["prompt"].as_str().expect("a prompt");
        let ids: Vec<u32> =
            case["ids"].as_array().expect("ids").iter().map(|v| v.as_u64().expect("an id") as u32).collect();
        let ours = tokenizer.encode(prompt).expect("any text");
        if ours != ids {
            wrong.push(format!("{prompt:?}\n  ours   {ours:?}\n  theirs {ids:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn ids_of_prompts() {
    let tokenizer = Tokenizer::load(&folder("model/tokenizer")).expect("load");
    check(&tokenizer, &json("model/tokenizer/expected.json"));
}

/// The second tokenizer of SDXL pads with `!`, so `!` in a prompt is the padding token too.
#[test]
fn ids_with_another_padding_token() {
    let folder = folder("model/tokenizer");
    for pad in [r#""!""#, r#"{"content": "!", "lstrip": false, "special": true}"#] {
        let copy = tempfile::tempdir().expect("a folder");
        for name in ["vocab.json", "merges.txt"] {
            std::fs::copy(folder.join(name), copy.path().join(name)).expect("copy");
        }
        let config = format!(r#"{{"pad_token": {pad}, "model_max_length": 77}}"#);
        std::fs::write(copy.path().join("tokenizer_config.json"), config).expect("write");
        let tokenizer = Tokenizer::load(copy.path()).expect("load");
        check(&tokenizer, &json("model/tokenizer/expected_pad.json"));
    }
}

/// Old repositories have the padding token in two files. transformers uses that of `special_tokens_map.json`, unless the config
/// lists added tokens.
#[test]
fn the_padding_token_is_read_from_the_right_file() {
    let folder = folder("sd21/tokenizer");
    let padding = |added: &str| {
        let copy = tempfile::tempdir().expect("a folder");
        for name in ["vocab.json", "merges.txt", "special_tokens_map.json"] {
            std::fs::copy(folder.join(name), copy.path().join(name)).expect("copy");
        }
        let config = format!(r#"{{"pad_token": "<|endoftext|>"{added}}}"#);
        std::fs::write(copy.path().join("tokenizer_config.json"), config).expect("write");
        let tokenizer = Tokenizer::load(copy.path()).expect("load");
        assert_eq!(Tokenizer::files(copy.path()).len(), 4);
        *tokenizer.encode("a").expect("any text").last().expect("padding")
    };
    assert_eq!(padding(""), 0);
    assert_eq!(padding(r#", "added_tokens_decoder": {}"#), 612);
}

/// A text of more than 75 tokens loses its end. The ids are those of the text without that end.
#[test]
fn the_end_that_is_cut_off() {
    let tokenizer = Tokenizer::load(&folder("model/tokenizer")).expect("load");
    let long = format!("  {} Zebra, \u{e9}", "a ".repeat(75));
    let cut = tokenizer.cut(&long).expect("any text").expect("a cut");
    assert_eq!(cut.text, "Zebra, \u{e9}");
    let (kept, _) = long.split_at(long.find(&cut.text).expect("a part of the text"));
    assert!(!tokenizer.cuts(kept).expect("any text"));
    assert_eq!(tokenizer.encode(kept).expect("any text"), tokenizer.encode(&long).expect("any text"));
    let alone = tokenizer.encode(&cut.text).expect("any text");
    let end = alone[76];
    assert_eq!(cut.tokens, alone[1..].iter().position(|&id| id == end).expect("an end"));

    let exactly = "a ".repeat(75);
    assert_eq!(tokenizer.cut(&exactly).expect("any text"), None);
    let one_more = format!("{exactly}b");
    let cut = tokenizer.cut(&one_more).expect("any text").expect("a cut");
    assert_eq!((cut.tokens, cut.text.as_str()), (1, "b"));
}

/// The boundary can lie within a character of several bytes, of which each is a token.
#[test]
fn a_cut_within_a_character() {
    let tokenizer = Tokenizer::load(&folder("model/tokenizer")).expect("load");
    for filler in 72..76 {
        let text = format!("{}\u{1f40c}\u{1f40c}", "a ".repeat(filler));
        let cut = tokenizer.cut(&text).expect("any text").expect("a cut");
        assert!(text.ends_with(&cut.text) && cut.text.contains('\u{1f40c}'), "{cut:?}");
    }
}
