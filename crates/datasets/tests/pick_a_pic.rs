//! Reading of parquet files that pyarrow wrote (oracles/pick_a_pic.py): every row by the rule, damaged and hostile
//! files refused.

use datasets::decode::decode;
use datasets::error::ReadError;
use datasets::listing::spec_of_folder;
use datasets::pair::PreferencePair;
use datasets::rows::Pairs;
use domain::data::{DataSpec, PickAPicSpec, PromptFilterSpec};
use domain::dataset::{Dropped, ReadReport, Reason};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pick_a_pic").join(name)
}

fn spec(folder: &Path) -> PickAPicSpec {
    PickAPicSpec { folder: folder.to_string_lossy().into_owned(), ..PickAPicSpec::default() }
}

/// The pairs whose images decode, and the report on the others.
fn read(spec: PickAPicSpec) -> Result<(Vec<PreferencePair>, ReadReport), ReadError> {
    let mut pairs = Pairs::open(&DataSpec::PickAPic(spec))?.expect("a set of files");
    let mut whole = Vec::new();
    let mut damaged = Vec::new();
    for pair in &mut pairs {
        let pair = pair?;
        match decode(&pair.winner).and_then(|_| decode(pair.loser.as_deref().expect("a loser"))) {
            Ok(_) => whole.push(pair),
            Err(detail) => {
                damaged.push(Dropped { reason: Reason::DamagedImage, source: pair.source, rows: 1, detail })
            }
        }
    }
    let mut report = pairs.report().clone();
    damaged.into_iter().for_each(|dropped| report.drop_pair(dropped));
    Ok((whole, report))
}

fn problem(spec: PickAPicSpec) -> String {
    read(spec).expect_err("not readable").to_string()
}

/// The outcome of each row by file and row number: `first` or `second` for the winner, or the reason why the row was
/// dropped.
fn found(pairs: &[PreferencePair], report: &ReadReport) -> BTreeMap<(String, u64), String> {
    let key = |file: &str, row| (file["data/".len()..][.."train-00000".len()].to_owned(), row);
    let mut found = BTreeMap::new();
    for pair in pairs {
        // In all rows but one, where both models are the other one, the first image is by this model.
        let first = pair.models[0].as_deref() != Some("dreamlike-art/dreamlike-photoreal-2.0");
        let side = if first { "first" } else { "second" };
        found.insert(key(&pair.source.file, pair.source.row), side.to_owned());
    }
    for dropped in &report.named {
        let reason = serde_json::to_value(dropped.reason).expect("a word");
        let reason = reason.as_str().expect("a word").to_owned();
        found.insert(key(&dropped.source.file, dropped.source.row), reason);
    }
    found
}

#[test]
fn every_row_has_the_outcome_of_the_rule() {
    let text = std::fs::read_to_string(fixture("expected.json")).expect("expected.json");
    let files: BTreeMap<String, Vec<Value>> = serde_json::from_str(&text).expect("JSON");
    let (pairs, report) = read(spec(&fixture("sound"))).expect("readable");
    let mut expected = BTreeMap::new();
    let mut captions = BTreeMap::new();
    for (file, rows) in &files {
        for row in rows {
            let key = (file.clone(), row["row"].as_u64().expect("a row"));
            expected.insert(key.clone(), row["what"].as_str().expect("a word").to_owned());
            captions.insert(key, row["caption"].as_str().map(str::to_owned));
        }
    }
    assert_eq!(found(&pairs, &report), expected);
    assert_eq!(report.rows, 24);
    assert_eq!(report.pairs, pairs.len() as u64);
    assert_eq!(report.pairs + report.dropped.values().sum::<u64>(), 24);
    for pair in &pairs {
        let key = (pair.source.file["data/".len()..][..11].to_owned(), pair.source.row);
        assert_eq!(captions[&key].as_deref(), Some(pair.prompt.as_str()));
        assert_ne!(Some(&pair.winner), pair.loser.as_ref());
    }
    let damaged = report.named.iter().find(|d| d.reason == Reason::DamagedImage).expect("one");
    let text = damaged.to_string();
    assert!(text.starts_with("data/train-0000") && text.contains("row 7"), "{text}");
}

/// The rows 0 and 1 of the fixture differ only in their labels.
#[test]
fn the_label_decides_which_image_wins() {
    let (pairs, _) = read(spec(&fixture("sound"))).expect("readable");
    let row = |row: u64| {
        pairs.iter().find(|p| p.source.row == row && p.source.file.contains("00000-of")).expect("a pair")
    };
    let models = |pair: &PreferencePair| pair.models.clone().map(|m| m.expect("a model"));
    assert!(models(row(0))[0].starts_with("stabilityai"));
    assert!(models(row(1))[0].starts_with("dreamlike"));
    assert_eq!(decode(&row(17).winner).expect("an image").dimensions(), (33, 64));
    assert_eq!(decode(row(17).loser.as_deref().expect("a loser")).expect("an image").dimensions(), (64, 33));
}

#[test]
fn the_order_is_deterministic_and_max_pairs_takes_its_beginning() {
    let sources = |max_pairs| {
        let spec = PickAPicSpec { max_pairs, ..spec(&fixture("sound")) };
        let pairs = Pairs::open(&DataSpec::PickAPic(spec)).expect("opens").expect("files");
        pairs.map(|pair| pair.expect("a pair").source.to_string()).collect::<Vec<_>>()
    };
    let all = sources(None);
    for _ in 0..5 {
        assert_eq!(sources(None), all);
    }
    assert_eq!(sources(Some(4)), all[..4]);
    // Three files are read in parallel, and the order takes one row of each in turn.
    assert!(all[0].contains("00000-of") && all[1].contains("00001-of") && all[2].contains("00002-of"));
}

#[test]
fn splits_models_and_prompts_are_selected() {
    let split = |split: &str| PickAPicSpec { split: Some(split.to_owned()), ..spec(&fixture("sound")) };
    let (pairs, _) = read(split("validation_unique")).expect("readable");
    assert_eq!(pairs.len(), 1);
    assert!(pairs[0].source.file.contains("validation_unique"));
    let problem = problem(split("test"));
    assert!(problem.contains("train, validation_unique"), "{problem}");

    let only_models = vec!["Dreamlike".to_owned()];
    let (pairs, report) = read(PickAPicSpec { only_models, ..spec(&fixture("sound")) }).expect("readable");
    assert_eq!(pairs.iter().map(|p| p.source.row).collect::<Vec<_>>(), [14]);
    assert!(report.dropped[&Reason::OtherModel] > 5);

    let filter = PromptFilterSpec { built_in: false, terms: vec!["prompt 22".to_owned()] };
    let (_, report) =
        read(PickAPicSpec { prompt_filter: Some(filter), ..spec(&fixture("sound")) }).expect("readable");
    assert_eq!(report.dropped[&Reason::FilteredPrompt], 1);
}

#[test]
fn a_column_of_the_wrong_type_drops_only_the_rows_of_its_file() {
    let (pairs, report) = read(spec(&fixture("wrong_type"))).expect("readable");
    assert_eq!(pairs.len(), 1);
    assert_eq!(report.dropped, BTreeMap::from([(Reason::WrongType, 3)]));
    let text = report.named[0].to_string();
    assert!(text.contains("train-00001-of-00002.parquet row 1"), "{text}");
    assert!(text.contains("column label_0 holds text or bytes: the numbers 0, 0.5 and 1"), "{text}");
}

/// Codecs beside Snappy and Zstandard, with pages of both versions.
#[test]
fn gzip_and_lz4_are_read_and_brotli_is_named() {
    for codec in ["gzip", "lz4"] {
        let (pairs, report) = read(spec(&fixture(codec))).expect("readable");
        let prompts: Vec<&str> = pairs.iter().map(|pair| pair.prompt.as_str()).collect();
        let expected = ["prompt 80", "prompt 80", "prompt 81", "prompt 81", "prompt 82", "prompt 82"];
        assert_eq!((prompts, report.rows), (expected.to_vec(), 6), "{codec}: {report}");
        assert_eq!(pairs[2].models[0].as_deref(), Some("dreamlike-art/dreamlike-photoreal-2.0"));
    }
    let (pairs, report) = read(spec(&fixture("brotli"))).expect("readable");
    assert!(pairs.is_empty());
    assert_eq!(report.dropped, BTreeMap::from([(Reason::Unreadable, 6)]));
    let account = report.explained();
    assert!(
        account.starts_with(
            "0 examples of 6 rows, 6 unreadable (part-1.parquet row 1: unreadable: column caption"
        ) && account.contains("brotli, which is not read: write the file with zstd or snappy"),
        "{account}"
    );
}

#[test]
fn labels_may_be_true_and_false_or_whole_numbers() {
    let (pairs, report) = read(spec(&fixture("labels_bool"))).expect("readable");
    let winners: Vec<_> = pairs.iter().map(|pair| pair.models[0].as_deref().expect("a model")).collect();
    assert!(winners[0].starts_with("stabilityai") && winners[1].starts_with("dreamlike"), "{winners:?}");
    assert_eq!(report.dropped, BTreeMap::from([(Reason::BadLabel, 2), (Reason::NoLabel, 1)]));
    let (pairs, _) = read(spec(&fixture("labels_int"))).expect("readable");
    assert_eq!(pairs.len(), 2);
}

#[test]
fn files_of_another_split_are_left_out_by_name() {
    for (folder, read_from, left_out) in [
        ("splits", "pickapic_train_0.parquet", "pickapic_validation_0.parquet"),
        ("converted", "default/train/0000.parquet", "default/validation/0000.parquet"),
    ] {
        let (pairs, report) = read(spec(&fixture(folder))).expect("readable");
        assert_eq!(pairs.iter().map(|pair| pair.source.file.as_str()).collect::<Vec<_>>(), [read_from]);
        let told = report.left_out.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told, [format!("{left_out}: left out: it is of the split validation")]);
        assert_eq!(report.to_string(), "1 examples of 1 rows, 1 file left out");
    }
    let validation = PickAPicSpec { split: Some("validation".to_owned()), ..spec(&fixture("splits")) };
    let (pairs, _) = read(validation).expect("readable");
    assert_eq!(pairs[0].source.file, "pickapic_validation_0.parquet");
    let found = spec_of_folder(&fixture("converted"));
    assert_eq!(found, DataSpec::PickAPic(spec(&fixture("converted"))));
}

#[test]
fn other_folders_are_refused_with_the_reason() {
    let urls = problem(spec(&fixture("urls")));
    assert!(urls.contains("no-images variant") && urls.contains("jpg_0"), "{urls}");
    let other = problem(spec(&fixture("other")));
    assert!(other.contains("no column caption") && other.contains("text"), "{other}");
    let empty = tempfile::tempdir().expect("a folder");
    assert!(problem(spec(empty.path())).contains("holds no .parquet file"));
    assert!(problem(spec(&empty.path().join("gone"))).contains("gone"));
}

/// 36 kilobytes that decompress to 320 megabytes: refused by the page header, before anything is decompressed.
#[test]
fn a_decompression_bomb_is_refused() {
    let problem = problem(spec(&fixture("bomb")));
    assert!(problem.contains("a page of 335544") && problem.contains("smaller row groups"), "{problem}");
}

/// Files with random bytes changed or truncated at random give an error or fewer pairs; reading never panics and always
/// ends.
#[test]
fn damaged_files_never_panic() {
    let sound = fixture("sound/data");
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("train.parquet");
    let mut draw = 1u64;
    let mut next = |below: usize| {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (draw >> 33) as usize % below
    };
    let (mut refused, mut read_on) = (0, 0);
    for name in ["00000", "00001", "00002"] {
        let whole = std::fs::read(sound.join(format!("train-{name}-of-00003-0123456789abcdef.parquet")))
            .expect("the fixture");
        for round in 0..120 {
            let mut bytes = whole.clone();
            if round % 4 == 0 {
                bytes.truncate(next(whole.len()));
            } else {
                // Half of the changes hit the footer.
                let from = if round % 2 == 0 { bytes.len() - 6000 } else { 4 };
                for _ in 0..=next(4) {
                    let at = from + next(bytes.len() - from);
                    bytes[at] = next(256) as u8;
                }
            }
            std::fs::write(&file, &bytes).expect("written");
            match read(spec(scratch.path())) {
                Ok((pairs, report)) => {
                    read_on += 1;
                    assert!(pairs.len() <= 24 && report.pairs <= report.rows);
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 50 && read_on > 50, "{refused} refused, {read_on} read");
}
