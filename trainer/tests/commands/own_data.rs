//! A model and data of one's own, on a small Stable Diffusion of random weights: a CLIP that a spec names or an import
//! brings, images without losers, likes, `data check`, and an evaluation without scorers.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates");

/// A scratch folder with a model without a CLIP, a CLIP, and a set of captioned images.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { folder: tempfile::tempdir().expect("a folder") };
        scene.clip();
        let model = format!("{FIXTURES}/diffusion/tests/fixtures/model");
        scene.run(&["import", &model, "--name", "small"]).expect("imported");
        scene.images();
        scene
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let file = self.at(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, text).expect("written");
    }

    /// The small CLIP of the reward models' fixtures, in transformers' layout.
    fn clip(&self) {
        let tower = |more: Value| {
            let mut tower = json!({
                "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 16,
                "hidden_act": "gelu", "projection_dim": 24,
            });
            tower.as_object_mut().expect("a table").extend(more.as_object().expect("a table").clone());
            tower
        };
        let config = json!({
            "projection_dim": 24,
            "text_config": tower(json!({ "vocab_size": 614, "max_position_embeddings": 77, "eos_token_id": 2 })),
            "vision_config": tower(json!({ "image_size": 16, "patch_size": 4 })),
        });
        self.write("clip-small/config.json", config.to_string());
        let rewards = Path::new(FIXTURES).join("evaluation/tests/fixtures/rewards");
        let copies = [
            ("pick_score.safetensors", "model.safetensors"),
            ("vocabulary/vocab.json", "vocab.json"),
            ("vocabulary/merges.txt", "merges.txt"),
        ];
        for (from, to) in copies {
            fs::copy(rewards.join(from), self.at("clip-small").join(to)).expect("copied");
        }
    }

    /// Eight images of several sizes, one damaged, with captions beside them.
    fn images(&self) {
        for i in 0..8u8 {
            let (width, height) = (20 + 7 * u32::from(i), 60 - 5 * u32::from(i));
            let image = image::RgbImage::from_fn(width, height, |x, y| {
                image::Rgb([(x * 9) as u8 ^ i, (y * 5) as u8, (x * y) as u8])
            });
            let mut bytes = std::io::Cursor::new(Vec::new());
            let format = if i % 2 == 0 { image::ImageFormat::Png } else { image::ImageFormat::Jpeg };
            image.write_to(&mut bytes, format).expect("encoded");
            let mut bytes = bytes.into_inner();
            if i == 5 {
                bytes.truncate(30);
            }
            let ending = if i % 2 == 0 { "png" } else { "jpg" };
            self.write(&format!("photos/{i}.{ending}"), bytes);
            self.write(&format!("photos/{i}.txt"), format!("a photo of thing {}", i / 2));
        }
    }

    /// Runs the program in the scratch folder. `Err` holds what a failure printed.
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", self.at("hub"))
            .env("RUST_BACKTRACE", "1")
            .output()
            .expect("the program");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let error = text(&output.stderr);
        assert!(!error.contains("panicked"), "{error}");
        assert!(
            !error.contains('\u{1b}') && !error.contains("backtrace") && !error.contains("   0: "),
            "{error}"
        );
        Err(error)
    }

    /// Writes a train spec and runs it.
    fn train(&self, name: &str, more: &str) -> Result<String, String> {
        let text = format!(
            "name = '{name}'\nbase = 'small'\nsteps = 2\nbatch_size = 2\nlearning_rate = {{ rate = 1e-5 }}\n{more}"
        );
        self.write(&format!("{name}.toml"), text);
        self.run(&["train", &format!("{name}.toml")])
    }
}

const CONTRAST: &str = "objective = { kind = 'diff_contrast', beta = 500.0, tau = 0.1 }\n";
const PHOTOS: &str = "data = { source = 'images', folder = 'photos' }\n";
const WITH_LOSERS: &str = "data = { source = 'images', folder = 'photos', losers = { seed = 3, steps = 2, guidance_scale = 1.0 } }\n";

#[test]
fn images_without_losers_train_sft_and_get_losers_for_preferences() {
    let scene = Scene::new();
    scene
        .train("sft", &format!("objective = {{ kind = 'sft' }}\n{PHOTOS}validation_examples = 2\n"))
        .expect("trained");
    let prompts = fs::read_to_string(scene.at("data/runs/sft/validation_prompts.txt")).expect("prompts");
    assert!(
        (1..=2).contains(&prompts.lines().count()) && prompts.starts_with("a photo of thing"),
        "{prompts}"
    );

    let refusal =
        scene.train("refused", &format!("{CONTRAST}clip = 'clip-small'\n{PHOTOS}")).expect_err("no losers");
    assert!(refusal.contains("data.losers") && refusal.contains("the base draws a loser"), "{refusal}");

    scene.train("drawn", &format!("{CONTRAST}clip = 'clip-small'\n{WITH_LOSERS}")).expect("trained");
    let cache =
        fs::read_dir(scene.at("data/cache")).expect("the cache").map(|entry| entry.expect("an entry").path());
    let losers: Vec<PathBuf> = cache
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("losers-")))
        .collect();
    assert_eq!(losers.len(), 1, "one set of losers");
    let count = || {
        let files = fs::read_dir(&losers[0]).expect("losers").map(|entry| entry.expect("an entry").path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "png")).count()
    };
    assert_eq!(count(), 8, "a loser for each caption");
    let drawn = |row: u32| fs::read(losers[0].join(format!("{row:07}.png"))).expect("a loser");
    assert_ne!(drawn(0), drawn(1), "rows 0 and 1 have one caption and different seeds");
    // Another run with the same base, set and settings uses the same losers; one more draws what is missing.
    let before = drawn(2);
    fs::remove_file(losers[0].join("0000002.png")).expect("removed");
    fs::remove_file(losers[0].join("drawn.json")).expect("removed");
    scene
        .train("again", &format!("objective = {{ kind = 'diffusion_dpo', beta = 500.0 }}\n{WITH_LOSERS}"))
        .expect("trained");
    assert!(count() == 8 && drawn(2) == before, "the same loser is drawn again");
}

#[test]
fn a_missing_clip_is_refused_with_the_line_to_add() {
    let scene = Scene::new();
    let refusal = scene.train("none", &format!("{CONTRAST}{WITH_LOSERS}")).expect_err("no CLIP");
    assert!(refusal.contains("add clip = \"openai/clip-vit-large-patch14\""), "{refusal}");
    assert!(!scene.at("data/cache").exists(), "nothing is encoded before the refusal");
    let useless =
        scene.train("useless", &format!("objective = {{ kind = 'sft' }}\nclip = 'clip-small'\n{PHOTOS}"));
    assert!(useless.expect_err("SFT needs no CLIP").contains("clip: has no effect on objective sft"));
    let unknown = scene.train("unknown", &format!("{CONTRAST}clip = 'nothing'\n{WITH_LOSERS}"));
    assert!(unknown.expect_err("no such CLIP").contains("there is no CLIP \"nothing\""));
    let offline = scene.train("offline", &format!("{CONTRAST}clip = 'some/repository'\n{WITH_LOSERS}"));
    assert!(offline.expect_err("offline").contains("HF_HUB_OFFLINE"));

    // With the CLIP beside the base the spec needs no line, and the run gives the same bits.
    let model = format!("{FIXTURES}/diffusion/tests/fixtures/model");
    let hint = scene.run(&["import", &model, "--name", "bare"]).expect("imported");
    assert!(
        hint.contains("It has no CLIP") && hint.contains("--clip openai/clip-vit-large-patch14"),
        "{hint}"
    );
    scene.run(&["import", &model, "--name", "whole", "--clip", "clip-small"]).expect("imported");
    assert!(scene.at("models/whole/clip/model.safetensors").is_file());
    scene.train("named", &format!("{CONTRAST}clip = 'clip-small'\n{WITH_LOSERS}")).expect("trained");
    let spec = fs::read_to_string(scene.at("named.toml")).expect("a spec");
    let spec = spec.replace("base = 'small'", "base = 'whole'").replace("clip = 'clip-small'\n", "");
    scene.write("brought.toml", spec.replace("'named'", "'brought'"));
    scene.run(&["train", "brought.toml"]).expect("trained");
    let weights = |run: &str| {
        let file = format!("data/runs/{run}/models/step-0000002/unet/diffusion_pytorch_model.safetensors");
        fs::read(scene.at(&file)).expect("weights")
    };
    assert!(weights("named") == weights("brought"));
    let wrong =
        scene.run(&["import", &model, "--name", "wrong", "--clip", "photos"]).expect_err("not a CLIP");
    assert!(wrong.contains("is not a CLIP") && !scene.at("models/wrong").exists(), "{wrong}");
}

#[test]
fn what_cannot_be_encoded_or_evaluated_is_refused_before_the_work() {
    let scene = Scene::new();
    scene.write("prepare.toml", format!("base = 'small'\nout = 'prepared'\n{PHOTOS}"));
    let refusal = scene.run(&["prepare", "prepare.toml"]).expect_err("no CLIP");
    assert!(
        refusal.contains("add clip = \"openai/clip-vit-large-patch14\"") && refusal.contains("clip = false"),
        "{refusal}"
    );
    assert!(!scene.at("prepared").exists());
    scene.write("prepare.toml", format!("base = 'small'\nout = 'prepared'\nclip = false\n{PHOTOS}"));
    scene.run(&["prepare", "prepare.toml"]).expect("prepared");
    let prepared = "data = { source = 'prepared', folder = 'prepared' }\n";
    scene.train("sft", &format!("objective = {{ kind = 'sft' }}\n{prepared}")).expect("trained");
    let text = scene.run(&["data", "check", "sft.toml"]).expect("the set that was prepared is checked");
    assert!(text.contains("7 examples of 8 rows"), "{text}");

    scene.write("spec.toml", format!(
        "name = 'x'\nbase = 'small'\nsteps = 2\nbatch_size = 2\nlearning_rate = {{ rate = 1e-5 }}\n{CONTRAST}{WITH_LOSERS}"
    ));
    let text = scene.run(&["data", "check", "spec.toml"]).expect("checked");
    assert!(text.contains("warning: The run would be refused: clip:"), "{text}");

    for (scorer, missing) in [
        ("clip = 'photos'", "is not a CLIP"),
        (
            "[[rewards]]\nmetric = 'pick_score'\nweights = 'nowhere'\nvocabulary = 'clip-small'",
            "nowhere does not exist",
        ),
    ] {
        scene.write(
            "evaluate.toml",
            format!(
                "models = ['small']\nsteps = 2\nprompts = {{ source = 'list', prompts = ['a'] }}\n{scorer}\n"
            ),
        );
        let refusal = scene.run(&["evaluate", "evaluate.toml"]).expect_err("no scorer");
        assert!(refusal.contains(missing), "{refusal}");
        assert!(!scene.at("data/evaluations/evaluate/images").exists(), "images were drawn");
        fs::remove_dir_all(scene.at("data/evaluations")).expect("removed");
    }
}

#[test]
fn data_check_reports_the_set_and_the_run() {
    let scene = Scene::new();
    let spec = format!(
        "name = 'x'\nbase = 'small'\nsteps = 3\nbatch_size = 2\nlearning_rate = {{ rate = 1e-5 }}\n\
                        objective = {{ kind = 'sft' }}\n{PHOTOS}"
    );
    scene.write("spec.toml", spec);
    let text = scene.run(&["data", "check", "spec.toml", "--measure", "--device", "cpu"]).expect("checked");
    for part in [
        "7 examples of 8 rows, 1 damaged image",
        "5.jpg row 6",
        "4 different, 5 to 5 words",
        "trained values",
        "s per step",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!scene.at("data/runs").exists(), "nothing is trained");
    let report: Value =
        serde_json::from_slice(&fs::read(scene.at("data/checks/spec/report.json")).expect("a report"))
            .expect("JSON");
    assert_eq!((&report["rows"]["pairs"], &report["with_loser"]), (&json!(7), &json!(0)));
    assert!(
        report["cost"]["measured_bytes"].as_u64() > Some(0)
            && report["cost"]["memory_bytes"].as_u64() > Some(0)
    );
    let sheet = image::open(scene.at("data/checks/spec/contact-sheet.png")).expect("a sheet");
    assert!(sheet.width() > 300 && sheet.height() > 300);

    // Pairs: the same file twice, a near copy, and a repeated row.
    let lines = [("0.png", "0.png"), ("0.png", "2.png"), ("0.png", "2.png"), ("4.png", "copy.png")];
    let mut copy = image::open(scene.at("photos/4.png")).expect("an image").to_rgb8();
    copy.get_pixel_mut(3, 3).0[0] ^= 8;
    copy.save(scene.at("photos/copy.png")).expect("saved");
    let list: String = lines
        .iter()
        .map(|(winner, loser)| {
            json!({ "prompt": "a photo", "winner": winner, "loser": loser }).to_string() + "\n"
        })
        .collect();
    scene.write("photos/pairs.jsonl", list);
    scene.write("pairs.toml", "[data]\nsource = 'folder'\nfolder = 'photos'\n");
    let text = scene.run(&["data", "check", "pairs.toml", "--out", "checked"]).expect("checked");
    for part in [
        "In 1 rows winner and loser are the same file",
        "In 1 rows winner and loser look the same",
        "In 1 rows both images repeat",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    scene.write("empty/pairs.jsonl", "{}\n");
    scene.write("empty.toml", "[data]\nsource = 'folder'\nfolder = 'empty'\n");
    let problem = scene.run(&["data", "check", "empty.toml"]).expect_err("nothing usable");
    assert!(
        problem.contains("no example that can be used")
            && problem.contains("pairs.jsonl row 1: no prompt: has no prompt"),
        "{problem}"
    );
    scene.write("drawn.toml", format!("base = 'small'\n{WITH_LOSERS}"));
    let text = scene.run(&["data", "check", "drawn.toml"]).expect("checked");
    assert!(text.contains("examples with a loser: 7 of 7 (the base draws them before the run)"), "{text}");
}

/// What a person reads of a failure is one message in plain words, and nothing is left behind.
#[test]
fn a_failed_run_says_why_and_leaves_no_folder() {
    let scene = Scene::new();
    let sft = "objective = { kind = 'sft' }\n";
    let problem = scene
        .train("none", &format!("{sft}data = {{ source = 'images', folder = 'nowhere' }}\n"))
        .expect_err("no set");
    assert!(problem.contains("no such folder"), "{problem}");
    assert!(!scene.at("data/runs/none").exists(), "an empty folder is left");
    for (field, plain) in [
        ("seed = 'x'", "expected a whole number from 0 on"),
        ("caption_dropout = [1]", "expected a number"),
        ("data = 5", "expected a table"),
        ("lora = 5", "expected a table"),
    ] {
        let problem = scene.train("typed", &format!("{sft}{field}\n")).expect_err(field);
        assert!(problem.contains(plain), "{field}: {problem}");
        assert!(!problem.contains("struct") && !problem.contains("enum"), "{field}: {problem}");
    }
}

/// Sets without a usable row: the account names file, column and reason.
#[test]
fn a_set_without_pairs_says_why() {
    let scene = Scene::new();
    let fixtures = format!("{FIXTURES}/datasets/tests/fixtures/pick_a_pic");
    for (folder, reasons) in [
        ("brotli", ["0 examples of 6 rows, 6 unreadable", "is compressed with brotli, which is not read"]),
        ("wrong_type", ["1 examples of 4 rows, 3 wrong type", "column label_0 holds text or bytes"]),
    ] {
        scene.write(
            "prepare.toml",
            format!("base = 'small'\nout = 'out'\nclip = false\ndata = {{ source = 'pick_a_pic', folder = '{fixtures}/{folder}' }}\n"),
        );
        let told = scene.run(&["prepare", "prepare.toml"]).unwrap_or_else(|problem| problem);
        assert!(reasons.iter().all(|reason| told.contains(reason)), "{folder}: {told}");
    }
    for i in 0..2 {
        scene.write(&format!("heic/w/{i}.HEIC"), b"\0\0\0\x1Cftypheic\0\0\0\0");
        scene.write(&format!("heic/l/{i}.png"), fs::read(scene.at("photos/0.png")).expect("an image"));
        scene.write(&format!("heic/w/{i}.txt"), "a cat");
    }
    scene.write(
        "heic.toml",
        "base = 'small'\nout = 'out'\nclip = false\ndata = { source = 'folder', folder = 'heic' }\n",
    );
    let problem = scene.run(&["prepare", "heic.toml"]).expect_err("nothing usable");
    assert!(
        problem.contains("0 examples of 2 rows, 2 damaged image") && problem.contains("HEIC"),
        "{problem}"
    );
}

/// Images of all formats, whatever wrote their captions, give the states of the same captions.
#[test]
fn a_set_of_other_systems_is_prepared_whole() {
    let scene = Scene::new();
    let formats = [
        (image::ImageFormat::WebP, "webp"),
        (image::ImageFormat::Gif, "GIF"),
        (image::ImageFormat::Png, "PNG"),
        (image::ImageFormat::Bmp, "bmp"),
    ];
    for (i, (format, ending)) in formats.into_iter().enumerate() {
        for side in ["w", "l"] {
            let image = image::RgbImage::from_pixel(16, 16, image::Rgb([40 * i as u8, 90, 10]));
            let mut bytes = std::io::Cursor::new(Vec::new());
            image.write_to(&mut bytes, format).expect("encoded");
            scene.write(&format!("set/{side}/{i}.{ending}"), bytes.into_inner());
            scene.write(&format!("set/{side}/._{i}.{ending}"), b"attributes");
        }
        scene.write(&format!("set/w/{i}.TXT"), format!("\u{feff}a red circle {i}\r\n"));
    }
    scene.write(
        "set.toml",
        "base = 'small'\nout = 'out'\nclip = false\ndata = { source = 'folder', folder = 'set' }\n",
    );
    let text = scene.run(&["prepare", "set.toml"]).expect("prepared");
    assert!(text.contains("4 examples of 4 rows, 8 files left out"), "{text}");
    let bytes = fs::read(scene.at("out/text-00000.safetensors")).expect("a shard");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(r#"["","a red circle 0","a red circle 1""#) && !text.contains('\u{feff}'));
}

#[test]
fn an_evaluation_without_scorers_shows_the_images_and_says_what_metrics_need() {
    let scene = Scene::new();
    scene
        .train("run", &format!("objective = {{ kind = 'sft' }}\n{PHOTOS}validation_examples = 2\n"))
        .expect("trained");
    scene.write("default.toml", "models = ['small', 'run']\nsteps = 2\nimages_per_prompt = 2\n");
    let text = scene.run(&["evaluate", "default.toml"]).expect("evaluated");
    assert!(text.contains("no metric was measured") && text.contains("PickScore_v1"), "{text}");
    let report: Value = serde_json::from_slice(
        &fs::read(scene.at("data/evaluations/default/report.json")).expect("a report"),
    )
    .expect("JSON");
    let prompts = fs::read_to_string(scene.at("data/runs/run/validation_prompts.txt")).expect("prompts");
    assert_eq!(report["prompts"], json!(2 * prompts.lines().count()));
    let page = fs::read_to_string(scene.at("data/evaluations/default/report.html")).expect("a page");
    assert!(page.contains("Side by side") && page.matches("<img").count() >= 2, "no images");

    scene.write(
        "captions.toml",
        "models = ['small']\nsteps = 2\nclip = 'clip-small'\n[prompts]\nsource = 'captions'\ncount = 3\n\
         data = { source = 'images', folder = 'photos' }\n",
    );
    let text = scene.run(&["evaluate", "captions.toml"]).expect("evaluated");
    assert!(text.contains("small: CLIP score") && text.contains("3 images"), "{text}");

    scene.write("shapes.toml", "models = ['small']\nprompts = { source = 'shapes_held_out', count = 2 }\n");
    let refusal = scene.run(&["evaluate", "shapes.toml"]).expect_err("another world");
    assert!(refusal.contains("coloured shapes") && refusal.contains("captions"), "{refusal}");
    scene.write("nothing.toml", "models = ['small']\n");
    let refusal = scene.run(&["evaluate", "nothing.toml"]).expect_err("no prompts");
    assert!(refusal.contains("validation_examples") && refusal.contains("name prompts"), "{refusal}");
}

#[test]
fn likes_train_a_preference_objective() {
    let scene = Scene::new();
    let list: String = (0..8)
        .filter(|i| *i != 5)
        .map(|i| {
            let ending = if i % 2 == 0 { "png" } else { "jpg" };
            json!({ "prompt": format!("thing {}", i % 2), "image": format!("{i}.{ending}"), "liked": i < 4 })
                .to_string()
                + "\n"
        })
        .collect();
    scene.write("photos/likes.jsonl", list);
    scene
        .train("liked", "objective = { kind = 'diffusion_dpo', beta = 500.0 }\ndata = { source = 'likes', folder = 'photos' }\n")
        .expect("trained");
}
