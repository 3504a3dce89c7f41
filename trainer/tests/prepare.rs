//! Encoding a set: killed at any moment it ends in the same bytes; what has not changed is kept; and training from shards
//! is training from the pictures.

use anyhow::Result;
use candle_core::{Device, Tensor};
use diffusion::clip::TextTower;
use diffusion::pipeline::Folders;
use diffusion::tokenizer::Tokenizer;
use diffusion::vae::Autoencoder;
use domain::data::DataSpec;
use domain::prepare::{Manifest, PictureSpec};
use image::{ImageFormat, RgbImage};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use trainer::data::encoded::EncodedSet;
use trainer::data::pictures::images_to_tensor;
use trainer::data::prepare::Plan;

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/shapes")
}

/// A folder of pairs of the bundled world, as PNG files, with one that is damaged.
fn folder_set(folder: &Path, pairs: u64) -> DataSpec {
    let mut list = String::new();
    for seed in 0..pairs {
        let pair = shapes::quality::quality_pair(seed);
        for (side, picture) in [("w", &pair.winner), ("l", &pair.loser)] {
            let mut bytes = Vec::new();
            picture.to_image().write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).expect("encodes");
            if seed == 3 && side == "l" {
                bytes.truncate(40);
            }
            std::fs::write(folder.join(format!("{seed}{side}.png")), bytes).expect("written");
        }
        let line = serde_json::json!({ "prompt": pair.caption, "winner": format!("{seed}w.png"), "loser": format!("{seed}l.png") });
        list += &format!("{line}\n");
    }
    std::fs::write(folder.join("pairs.jsonl"), list).expect("written");
    let text = format!("source = 'folder'\nfolder = '{}'", folder.display());
    toml::from_str(&text).expect("a spec")
}

fn prepare(out: &Path, data: &DataSpec, folders: &Folders) -> Result<Manifest> {
    let plan = Plan::new(data, &PictureSpec::default(), 4, true, folders)?;
    plan.carry_out(out, folders, &Device::Cpu, &mut |_, _| Ok(()))
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().expect("flat").to_vec1().expect("values")
}

fn assert_close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.dims(), b.dims());
    for (a, b) in values(a).iter().zip(values(b)) {
        assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} {b}");
    }
}

#[test]
fn shards_hold_what_the_encoders_make_of_each_picture() {
    let scratch = tempfile::tempdir().expect("a folder");
    let source = scratch.path().join("set");
    std::fs::create_dir(&source).expect("made");
    let data = folder_set(&source, 11);
    let folders = Folders::new(&bundled(), None);
    let out = scratch.path().join("out");
    let manifest = prepare(&out, &data, &folders).expect("encodes");
    assert_eq!(manifest.examples, [3, 4, 3]);
    assert_eq!((manifest.report.rows, manifest.report.pairs), (11, 10));
    let damaged = manifest.report.named[0].to_string();
    assert!(damaged.starts_with("pairs.jsonl row 3: damaged image: the loser"), "{damaged}");

    let set = EncodedSet::open(&out, &manifest).expect("opens");
    assert_eq!(set.len(), 10);
    let (vae, _) = Autoencoder::load(&bundled().join("vae"), &Device::Cpu, false).expect("a VAE");
    let (text, _) = TextTower::load(&bundled().join("text_encoder"), &Device::Cpu).expect("a text tower");
    let tokenizer = Tokenizer::load(&bundled().join("tokenizer")).expect("a tokenizer");
    // One by one and out of order, where the shards were encoded four at a time.
    for (row, seed) in [(9u32, 10u64), (0, 0), (3, 4), (2, 2), (6, 7)] {
        let pair = shapes::quality::quality_pair(seed);
        for (side, picture) in [("winner", &pair.winner), ("loser", &pair.loser)] {
            let pictures: [RgbImage; 1] = [picture.to_image()];
            let posterior =
                vae.encode(&images_to_tensor(&pictures, &Device::Cpu).expect("a tensor")).expect("encodes");
            assert_close(&set.rows(&format!("{side}.mean"), &[row]).expect("rows"), &posterior.mean);
            let log_variance = set.rows(&format!("{side}.log_variance"), &[row]).expect("rows");
            assert_close(&log_variance, &posterior.log_variance);
        }
        let caption = set.captions_of(&[row]).expect("a caption");
        let ids = [tokenizer.encode(&pair.caption).expect("ids")];
        assert_close(&set.rows("text", &caption).expect("text"), &text.forward(&ids).expect("states"));
    }
    let ids = [tokenizer.encode("").expect("ids")];
    assert_close(&set.rows("text", &[0]).expect("text"), &text.forward(&ids).expect("states"));
    let many = set.rows("winner.mean", &[7, 1, 7]).expect("rows");
    assert_close(&many.narrow(0, 1, 1).expect("one"), &set.rows("winner.mean", &[1]).expect("rows"));
    assert!(set.rows("winner.mean", &[10]).is_err() && set.captions_of(&[10]).is_err());
}

/// When each file of the set was written.
fn written(out: &Path) -> BTreeMap<String, std::time::SystemTime> {
    let entries = std::fs::read_dir(out).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .filter(|entry| entry.file_name() != "prepare.lock")
        .map(|entry| {
            let time = entry.metadata().and_then(|of| of.modified()).expect("a time");
            (entry.file_name().to_string_lossy().into_owned(), time)
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn a_change_invalidates_what_it_must_and_nothing_else() {
    let scratch = tempfile::tempdir().expect("a folder");
    let model = scratch.path().join("model");
    copy(&bundled(), &model);
    let folders = Folders::new(&model, None);
    let data: DataSpec = toml::from_str("source = 'shapes'\nset = 'winter'\ncount = 6").expect("a spec");
    let out = scratch.path().join("out");
    let first = prepare(&out, &data, &folders).expect("encodes");
    let before = written(&out);
    assert_eq!(before.len(), 7, "two shards of three parts, and the manifest");
    prepare(&out, &data, &folders).expect("is there");
    assert_eq!(written(&out), before, "nothing is made twice");

    // Another text encoder: here another spelling of its config, which its hash cannot tell from another network.
    let config = model.join("text_encoder/config.json");
    let text = std::fs::read_to_string(&config).expect("a config");
    std::fs::write(&config, text + "\n").expect("written");
    let second = prepare(&out, &data, &folders).expect("encodes");
    let after = written(&out);
    for (name, time) in &after {
        let anew = name.starts_with("text-") || name == "manifest.json";
        assert_eq!(before[name] != *time, anew, "{name}");
    }
    assert_eq!(first.parts["latents"], second.parts["latents"]);
    assert_ne!(first.parts["text"].key, second.parts["text"].key);

    // A shorter set: other shards, and none of the old ones stays behind.
    let data: DataSpec = toml::from_str("source = 'shapes'\nset = 'winter'\ncount = 4").expect("a spec");
    prepare(&out, &data, &folders).expect("encodes");
    assert_eq!(written(&out).len(), 4);

    // A set prepared by one model's encoders is not given to another's.
    let prepared: DataSpec =
        toml::from_str(&format!("source = 'prepared'\nfolder = '{}'", out.display())).expect("a spec");
    let cache = scratch.path().join("cache");
    let open = |folders: &Folders| {
        let as_it_is = PictureSpec::default();
        EncodedSet::prepare(&prepared, &as_it_is, folders, true, &cache, &Device::Cpu, &mut |_, _| Ok(()))
    };
    assert_eq!(open(&folders).expect("opens").len(), 4);
    let problem = format!("{:#}", open(&Folders::new(&bundled(), None)).expect_err("another text encoder"));
    assert!(
        problem.contains("text_encoder/config.json") && problem.contains("prepare it again"),
        "{problem}"
    );
}

/// Mirrored pictures are a part of their own: asking for them makes them and nothing else. Another part of each picture
/// makes latents anew, and no text.
#[test]
fn pictures_of_another_kind_are_made_and_nothing_else() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folders = Folders::new(&bundled(), None);
    let data: DataSpec = toml::from_str("source = 'shapes'\nset = 'winter'\ncount = 6").expect("a spec");
    let out = scratch.path().join("out");
    let of = |picture: &str| -> PictureSpec { toml::from_str(picture).expect("a spec") };
    let make = |picture: &PictureSpec| {
        let plan = Plan::new(&data, picture, 4, false, &folders).expect("a plan");
        let name = plan.cache_name();
        (plan.carry_out(&out, &folders, &Device::Cpu, &mut |_, _| Ok(())).expect("encodes"), name)
    };
    let (plain, plain_name) = make(&of(""));
    let before = written(&out);
    let (mirrored, mirrored_name) = make(&of("mirrored = true"));
    assert_eq!(plain_name, mirrored_name, "a run with and one without share a folder");
    assert_eq!(mirrored.parts["latents"], plain.parts["latents"]);
    let after = written(&out);
    let new: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert_eq!(new, ["mirrored-00000.safetensors", "mirrored-00001.safetensors"]);
    for (name, time) in &before {
        assert_eq!(after[name] != *time, name == "manifest.json", "{name}");
    }

    // What was prepared so is opened so, and for nothing else.
    let prepared: DataSpec =
        toml::from_str(&format!("source = 'prepared'\nfolder = '{}'", out.display())).expect("a spec");
    let open = |picture: &str| {
        let cache = scratch.path().join("cache");
        let picture = of(picture);
        EncodedSet::prepare(&prepared, &picture, &folders, false, &cache, &Device::Cpu, &mut |_, _| Ok(()))
    };
    open("").expect("opens");
    open("mirrored = true").expect("opens");
    let refused = |picture: &str, remedy: &str| {
        let problem = format!("{:#}", open(picture).expect_err("another"));
        assert!(problem.contains("data.folder") && problem.contains(remedy), "{problem}");
    };
    refused("crop = 'random'", "picture.crop = \"random\"");

    let (random, _) = make(&of("crop = 'random'"));
    let last = written(&out);
    for (name, time) in &after {
        let anew = name.starts_with("latents-") || name == "manifest.json";
        assert_eq!(last[name] != *time, anew, "{name}");
    }
    assert_eq!(random.parts["text"], plain.parts["text"]);
    refused("crop = 'random'\nmirrored = true", "picture.mirrored = true");
    refused("", "crop = \"random\"");
}

fn start(config: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .arg("prepare")
        .arg(config)
        .args(["--models", concat!(env!("CARGO_MANIFEST_DIR"), "/../models")])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the trainer")
}

fn finish(process: Child) {
    let output = process.wait_with_output().expect("its end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn contents(out: &Path) -> BTreeMap<String, Vec<u8>> {
    written(out)
        .into_keys()
        .map(|name| (name.clone(), std::fs::read(out.join(name)).expect("a file")))
        .collect()
}

/// `KILLS` says how often; a few by default.
#[test]
fn killed_at_any_moment() {
    let scratch = tempfile::tempdir().expect("a folder");
    let out = |name: &str| scratch.path().join(name);
    let config = |name: &str| {
        let file = scratch.path().join(format!("{name}.toml"));
        let text = format!(
            "base = 'shapes'\nout = '{}'\nshard_size = 8\ndata = {{ source = 'shapes', set = 'quality', count = 60 }}",
            out(name).display()
        );
        std::fs::write(&file, text).expect("written");
        file
    };
    let begun = Instant::now();
    finish(start(&config("whole")));
    let whole = begun.elapsed();
    let kills: u32 = std::env::var("KILLS").map_or(4, |text| text.parse().expect("KILLS is a number"));
    let mut died = 0;
    for kill in 0..kills {
        if out("parts").join("manifest.json").exists() {
            std::fs::remove_dir_all(out("parts")).expect("removed");
        }
        let mut process = start(&config("parts"));
        let moment = (f64::from(kill + 1) * 0.618_033_988_75).fract();
        std::thread::sleep(whole.mul_f64(0.1 + 0.5 * moment));
        process.kill().expect("killed");
        died += u32::from(!process.wait().expect("its end").success());
    }
    assert!(died > 0, "every process was faster than its killer");
    finish(start(&config("parts")));
    let (whole, parts) = (contents(&out("whole")), contents(&out("parts")));
    assert_eq!(whole.keys().collect::<Vec<_>>(), parts.keys().collect::<Vec<_>>());
    for (name, bytes) in &whole {
        assert!(parts[name] == *bytes, "{name} differs");
    }
}
