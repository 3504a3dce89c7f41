//! Style sets by each of the editors: a set that was interrupted and resumed has the same files as an undisturbed one.

use candle_core::Device;
use catalogue::local_models::LocalModels;
use datasets::rows::Pairs;
use domain::data::{DataSpec, FolderSpec, PickAPicSpec};
use domain::style::{StyleManifest, StyleSpec};
use image::RgbImage;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use training::style::make;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion/tests/fixtures")
}

fn models() -> LocalModels {
    LocalModels { models: fixtures(), base_parts: Some(fixtures().join("model")) }
}

fn spec(out: &Path, count: u32, editor: &Value) -> StyleSpec {
    let data = json!({ "source": "shapes", "set": "quality", "count": count, "seed": 4 });
    let spec = json!({ "data": data, "editor": editor, "out": out, "seed": 9 });
    serde_json::from_value(spec).expect("a spec")
}

fn run(spec: &StyleSpec) -> anyhow::Result<StyleManifest> {
    make(spec, &models(), &Device::Cpu, &mut |_| ControlFlow::Continue(()))
}

/// The files of a set by path, without the manifest, which holds the path of the set.
fn files(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in ["", "losers", "winners", "data"] {
        for entry in std::fs::read_dir(out.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() && !path.ends_with("manifest.json") {
                let name = path.strip_prefix(out).expect("a path in the set").to_string_lossy().into_owned();
                found.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

fn winter() -> Value {
    json!({ "kind": "classical", "style": "winter" })
}

#[test]
fn an_interrupted_set_resumes_to_the_same_files() {
    let scratch = tempfile::tempdir().expect("a folder");
    let whole = spec(&scratch.path().join("whole"), 12, &winter());
    let manifest = run(&whole).expect("a set");
    let report = manifest.report.expect("a finished set");
    assert_eq!((report.rows, report.pairs), (12, 12));
    let interrupted = spec(&scratch.path().join("interrupted"), 12, &winter());
    for stop_after in [3, 7] {
        let mut progress = |done: usize| match done < stop_after {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let error = make(&interrupted, &models(), &Device::Cpu, &mut progress).expect_err("stopped");
        assert!(error.to_string().contains("rerun the same command"), "{error}");
        let out = Path::new(&interrupted.out);
        assert!(!out.join("pairs.jsonl").exists(), "an unfinished set must not look finished");
        // As after a kill between the two images of a pair.
        let last = out.join(format!("winners/{:07}.png", stop_after - 1));
        std::fs::remove_file(last).expect("the last winner");
    }
    let kept = Path::new(&interrupted.out).join("winners/0000000.png");
    let before = std::fs::metadata(&kept).and_then(|m| m.modified()).expect("a time");
    run(&interrupted).expect("a set");
    assert_eq!(std::fs::metadata(&kept).and_then(|m| m.modified()).expect("a time"), before);
    assert_eq!(files(Path::new(&interrupted.out)), files(Path::new(&whole.out)));
    // Making a finished set again changes nothing.
    let before = files(Path::new(&whole.out));
    run(&whole).expect("a set");
    assert_eq!(files(Path::new(&whole.out)), before);
}

#[test]
fn originals_are_chosen_from_both_sides_and_the_set_is_read_as_a_folder_and_as_parquet() {
    let scratch = tempfile::tempdir().expect("a folder");
    let spec = spec(scratch.path(), 24, &winter());
    run(&spec).expect("a set");
    let folder = scratch.path().to_string_lossy().into_owned();
    let folder_spec = DataSpec::Folder(FolderSpec { folder: folder.clone(), ..FolderSpec::default() });
    let parquet = DataSpec::PickAPic(PickAPicSpec { folder, ..PickAPicSpec::default() });
    let read = |spec: &DataSpec| {
        let pairs = Pairs::open(spec).expect("opens").expect("a set");
        pairs.map(|pair| pair.expect("a pair")).collect::<Vec<_>>()
    };
    let (listed, rows) = (read(&folder_spec), read(&parquet));
    assert_eq!((listed.len(), rows.len()), (24, 24));
    let originals = training::data::examples::Examples::open(&spec.data).and_then(|mut e| e.take(24));
    let originals = originals.expect("the set").examples;
    let mut chosen = [0, 0];
    for ((listed, row), original) in listed.iter().zip(&rows).zip(&originals) {
        assert_eq!((&listed.prompt, &listed.winner, &listed.loser), (&row.prompt, &row.winner, &row.loser));
        assert_eq!(row.models, [Some("classical".to_owned()), Some("original".to_owned())]);
        assert_eq!(listed.prompt, original.caption);
        let loser = datasets::decode::decode(listed.loser.as_deref().expect("a loser")).expect("an image");
        let second = original.loser.as_ref().expect("a pair");
        assert!(loser == original.winner || loser == *second, "the loser is not one of the originals");
        chosen[usize::from(loser == *second)] += 1;
    }
    assert!(chosen.iter().all(|&count| count >= 4), "{chosen:?}");
}

#[test]
fn a_folder_with_a_set_of_another_spec_is_refused() {
    let scratch = tempfile::tempdir().expect("a folder");
    let first = spec(scratch.path(), 2, &winter());
    run(&first).expect("a set");
    let before = files(scratch.path());
    let other = StyleSpec { seed: 10, ..first };
    let error = run(&other).expect_err("another set").to_string();
    assert!(error.contains("another spec"), "{error}");
    assert_eq!(files(scratch.path()), before);
}

/// The bundled operators edit photographs of any size: originals stay as they are, and winners have their size.
#[test]
fn bundled_operators_keep_the_size_of_photographs() {
    let scratch = tempfile::tempdir().expect("a folder");
    let photographs = scratch.path().join("photographs");
    std::fs::create_dir(&photographs).expect("a folder");
    let sizes = [(192, 128), (90, 150)];
    let mut list = String::new();
    for (index, (width, height)) in sizes.into_iter().enumerate() {
        let gradient = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 120]));
        gradient.save(photographs.join(format!("{index}.png"))).expect("written");
        // The source names pairs; an original is one of the two.
        let name = format!("{index}.png");
        let line = json!({ "prompt": "a photograph", "winner": name, "loser": name });
        list.push_str(&format!("{line}\n"));
    }
    std::fs::write(photographs.join("pairs.jsonl"), list).expect("written");
    for style in ["van_gogh", "sketch", "winter"] {
        let out = scratch.path().join(style);
        let spec: StyleSpec = serde_json::from_value(json!({
            "data": { "source": "folder", "folder": photographs },
            "editor": { "kind": "classical", "style": style }, "out": out,
        }))
        .expect("a spec");
        assert_eq!(run(&spec).expect("a set").report.expect("a finished set").pairs, 2);
        for (index, size) in sizes.into_iter().enumerate() {
            let open =
                |side: &str| image::open(out.join(format!("{side}/000000{index}.png"))).expect("an image");
            let (loser, winner) = (open("losers").to_rgb8(), open("winners").to_rgb8());
            assert_eq!((loser.dimensions(), winner.dimensions()), (size, size));
            let original = image::open(photographs.join(format!("{index}.png"))).expect("an image").to_rgb8();
            assert!(loser == original && winner != original, "{style}");
        }
    }
}

#[test]
fn instruct_pix2pix_edits_a_set() {
    let scratch = tempfile::tempdir().expect("a folder");
    let editor = json!({
        "kind": "instruct_pix2pix", "model": "instruct_pix2pix", "instruction": "paint {caption}", "steps": 2,
    });
    let set = |name: &str, editor: &Value| spec(&scratch.path().join(name), 2, editor);
    let manifest = run(&set("a", &editor)).expect("a set");
    assert!(
        manifest.files.contains_key("unet/config.json") && manifest.files.contains_key("vae/config.json")
    );
    run(&set("b", &editor)).expect("a set");
    assert_eq!(files(&scratch.path().join("a")), files(&scratch.path().join("b")));
    let list = std::fs::read_to_string(scratch.path().join("a/pairs.jsonl")).expect("a list");
    let line: Value = serde_json::from_str(list.lines().next().expect("a line")).expect("an object");
    assert_eq!(line["told"], format!("paint {}", line["prompt"].as_str().expect("a prompt")));
    let image = image::open(scratch.path().join("a/winners/0000000.png")).expect("an image");
    assert_eq!((image.width(), image.height()), (64, 64));
    let mut other = editor.clone();
    other["instruction"] = "snow".into();
    run(&set("c", &other)).expect("a set");
    assert_ne!(
        files(&scratch.path().join("a"))["winners/0000000.png"],
        files(&scratch.path().join("c"))["winners/0000000.png"]
    );
    // Stopped within an edit: no file is written.
    let stopped = set("d", &editor);
    let error =
        make(&stopped, &models(), &Device::Cpu, &mut |_| ControlFlow::Break(())).expect_err("stopped");
    assert!(error.to_string().contains("rerun the same command"), "{error}");
    let left = std::fs::read_dir(scratch.path().join("d/winners")).expect("a folder").count();
    assert_eq!(left, 0);
    let missing = json!({ "kind": "instruct_pix2pix", "model": "nowhere", "instruction": "x" });
    let error = format!("{:#}", run(&set("e", &missing)).expect_err("no model"));
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn prompt_diffusion_edits_a_set_and_refuses_another_example_pair() {
    let scratch = tempfile::tempdir().expect("a folder");
    let example = ["source.png", "target.png"].map(|name| scratch.path().join(name));
    let draw = |shift: u32| {
        RgbImage::from_fn(70, 50, |x, y| image::Rgb([(x * 3 + shift) as u8, (y * 5) as u8, shift as u8]))
    };
    draw(0).save(&example[0]).expect("written");
    draw(90).save(&example[1]).expect("written");
    let editor = json!({
        "kind": "prompt_diffusion", "model": "model", "controlnet": "prompt_diffusion/controlnet",
        "example": example, "steps": 2, "short_side": 64,
    });
    let set = spec(&scratch.path().join("set"), 1, &editor);
    let manifest = run(&set).expect("a set");
    for file in ["example/0", "example/1", "controlnet/config.json", "unet/config.json"] {
        assert!(manifest.files.contains_key(file), "{file}");
    }
    let image = image::open(scratch.path().join("set/winners/0000000.png")).expect("an image");
    assert_eq!((image.width(), image.height()), (64, 64));
    draw(91).save(&example[1]).expect("written");
    let error = run(&set).expect_err("another example").to_string();
    assert!(error.contains("example pair"), "{error}");
}
