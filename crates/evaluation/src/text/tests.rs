//! Comparison of cleaned texts and token ids with ftfy, open_clip, OpenAI's tokenizer and BERT's (`oracles/texts.py`).

use super::bpe::BytePairs;
use super::ftfy::fix_text;
use super::{BertTokenizer, OpenClipTokenizer, SpecialNames, open_clip};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/texts")
}

fn cases() -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join("expected.json")).expect("a fixture");
    let expected: Value = serde_json::from_str(&text).expect("a fixture");
    let cases = expected["cases"].as_array().expect("cases").clone();
    assert!(cases.len() > 200);
    cases
}

fn check<T: PartialEq + std::fmt::Debug>(
    field: &str,
    ours: impl Fn(&str) -> T,
    theirs: impl Fn(&Value) -> T,
) {
    let cases = cases();
    let mut wrong = Vec::new();
    for case in &cases {
        let text = case["text"].as_str().expect("a text");
        let (ours, theirs) = (ours(text), theirs(&case[field]));
        if ours != theirs {
            wrong.push(format!("{text:?}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{field}: {} of {} differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn string(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

#[test]
fn texts_are_repaired_as_ftfy_does() {
    check("fixed", fix_text, string);
}

#[test]
fn texts_are_cleaned_as_open_clip_does() {
    check("clean", open_clip::clean, string);
}

#[test]
fn ids_are_those_of_open_clip_and_openai() {
    let vocabulary = folder().join("bpe.txt.gz");
    for (field, names) in [("open_clip", SpecialNames::OpenClip), ("openai", SpecialNames::OpenAi)] {
        let tokenizer = OpenClipTokenizer::open(&vocabulary, names).expect("a vocabulary");
        check(field, |text| tokenizer.encode(text).expect("any text"), ids);
    }
}

#[test]
fn ids_are_those_of_image_rewards_bert() {
    let tokenizer = BertTokenizer::open(&folder().join("vocab.txt")).expect("a vocabulary");
    check("bert", |text| tokenizer.encode(text).expect("any text"), ids);
}

#[test]
fn other_files_are_refused_by_name() {
    let folder = folder();
    for (file, about) in [("nothing.gz", "No such file"), ("expected.json", "merge"), ("vocab.txt", "merge")]
    {
        let message = BytePairs::open(&folder.join(file)).expect_err(about).to_string();
        assert!(message.contains(file) && message.contains(about), "{message}");
    }
    for (file, about) in [("nothing.txt", "No such file"), ("expected.json", "not a vocabulary of BERT")] {
        let message = BertTokenizer::open(&folder.join(file)).expect_err(about).to_string();
        assert!(message.contains(file) && message.contains(about), "{message}");
    }
}
