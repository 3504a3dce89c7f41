//! The commands `import` and `export`: from folders, single files, and a mock of the Hugging Face hub.

use crate::hub::{COMMIT, Hub, TOKEN};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/diffusion/tests/fixtures").join(name)
}

/// Runs the program; returns standard output, standard error and whether it succeeded.
fn run(arguments: &[&str], models: &Path, variables: &[(&str, &str)]) -> (String, String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"));
    for name in [
        "HF_HOME",
        "HF_HUB_CACHE",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HF_HUB_OFFLINE",
        "HF_HUB_DOWNLOAD_TIMEOUT",
        "http_proxy",
        "HTTP_PROXY",
    ] {
        command.env_remove(name);
    }
    let output = command
        .args(arguments)
        .arg("--models")
        .arg(models)
        // By default the hub is unreachable and its cache empty.
        .env("HF_HOME", models.join("../hub"))
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .envs(variables.iter().copied())
        .output()
        .expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(output.stdout), text(output.stderr), output.status.success())
}

fn succeed(arguments: &[&str], models: &Path, variables: &[(&str, &str)]) -> String {
    let (stdout, stderr, ok) = run(arguments, models, variables);
    assert!(ok, "{stderr}");
    stdout
}

/// Asserts that the program fails, that the error contains all words, and that the folder of models is unchanged.
fn fail(arguments: &[&str], models: &Path, variables: &[(&str, &str)], words: &[&str]) {
    let list = || {
        let mut names: Vec<_> =
            fs::read_dir(models).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        names.sort();
        names
    };
    let before = list();
    let (_, stderr, ok) = run(arguments, models, variables);
    assert!(!ok, "it succeeded: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{stderr} does not contain {word:?}");
    }
    assert_eq!(before, list(), "the folder of models changed");
}

/// The files of the fixture's model as a repository has them, by path, with files that an import ignores.
fn repository() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for part in ["", "scheduler", "text_encoder", "tokenizer", "unet", "vae"] {
        for entry in fs::read_dir(fixture("model").join(part)).expect("a fixture") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_file() && !name.starts_with("expected") {
                let name = if part.is_empty() { name } else { format!("{part}/{name}") };
                files.insert(name, fs::read(path).expect("a file"));
            }
        }
    }
    // Ignored by the import.
    files.insert("safety_checker/model.safetensors".to_owned(), vec![1; 9]);
    files.insert("unet/diffusion_pytorch_model.bin".to_owned(), vec![2; 9]);
    files.insert("unet/diffusion_pytorch_model.non_ema.safetensors".to_owned(), vec![3; 9]);
    let half = files["vae/diffusion_pytorch_model.safetensors"].clone();
    files.insert("vae/diffusion_pytorch_model.fp16.safetensors".to_owned(), half);
    files
}

fn write(files: &BTreeMap<String, Vec<u8>>, folder: &Path) {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("room");
        fs::write(path, bytes).expect("room");
    }
}

fn tensors(file: &Path) -> BTreeMap<String, (String, Vec<u8>)> {
    let bytes = fs::read(file).expect("a file");
    let read = SafeTensors::deserialize(&bytes).expect("safetensors");
    read.tensors().into_iter().map(|(name, t)| (name, (t.dtype().to_string(), t.data().to_vec()))).collect()
}

#[test]
fn an_imported_folder_is_exported_with_the_same_weights() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (source, models) = (scratch.path().join("source"), scratch.path().join("models"));
    write(&repository(), &source);
    let source_name = source.to_str().expect("a path");
    let output = succeed(&["import", source_name, "--name", "tiny"], &models, &[]);
    for words in
        ["unet: ", "of F16, diffusion_pytorch_model.safetensors", "vae: ", "text_encoder: ", "8 x 8 pixels"]
    {
        assert!(output.contains(words), "{output}");
    }
    let tiny = models.join("tiny");
    let origin: Value =
        serde_json::from_slice(&fs::read(tiny.join("origin.json")).expect("a file")).expect("JSON");
    assert_eq!(origin, json!({ "source": source_name }));
    assert!(!tiny.join("safety_checker").exists() && !tiny.join("unet/diffusion_pytorch_model.bin").exists());
    fail(&["import", source_name, "--name", "tiny"], &models, &[], &["tiny", "already exists"]);
    fail(&["import", source_name, "--name", "a b"], &models, &[], &["--name"]);
    fail(&["import", "nothing at all", "--name", "x"], &models, &[], &["nothing at all", "OWNER/NAME"]);
    fail(&["import", source_name, "--name", "x", "--ema"], &models, &[], &["--ema", "single-file"]);

    // In both types; the values are the same.
    let stored = tensors(&tiny.join("unet/diffusion_pytorch_model.safetensors"));
    for dtype in ["f16", "f32"] {
        let out = scratch.path().join(dtype);
        let sample = ["--sample", "a red circle"];
        let mut arguments = vec!["export", "tiny", "--out", out.to_str().expect("a path"), "--dtype", dtype];
        arguments.extend(sample);
        succeed(&arguments, &models, &[]);
        let index: Value =
            serde_json::from_slice(&fs::read(out.join("model_index.json")).expect("a file")).expect("JSON");
        assert_eq!(index["_class_name"], "StableDiffusionPipeline");
        assert_eq!(index["scheduler"], json!(["diffusers", "DDIMScheduler"]));
        assert_eq!(index["unet"], json!(["diffusers", "UNet2DConditionModel"]));
        assert!(out.join("tokenizer/merges.txt").is_file() && out.join("sample.png").is_file());
        let written = tensors(&out.join("unet/diffusion_pytorch_model.safetensors"));
        assert_eq!(written.len(), stored.len());
        for (name, (kind, bytes)) in &written {
            assert_eq!(kind, &dtype.to_uppercase());
            if dtype == "f16" {
                assert_eq!(bytes, &stored[name].1, "{name}");
            }
        }
        let card = fs::read_to_string(out.join("README.md")).expect("a card");
        let unet = fs::read(out.join("unet/diffusion_pytorch_model.safetensors")).expect("weights");
        for words in
            ["StableDiffusionPipeline.from_pretrained", &format!("{:x}", Sha256::digest(unet)), source_name]
        {
            assert!(card.contains(words), "{card}");
        }
        fail(&arguments, &models, &[], &["already exists"]);
    }
    // An export can be imported again.
    succeed(
        &["import", scratch.path().join("f32").to_str().expect("a path"), "--name", "again"],
        &models,
        &[],
    );
}

#[test]
fn a_damaged_model_is_refused_and_leaves_nothing() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (source, models) = (scratch.path().join("source"), scratch.path().join("models"));
    write(&repository(), &source);
    fs::create_dir(&models).expect("room");
    let import = ["import", source.to_str().expect("a path"), "--name", "x"];
    let vae = source.join("vae/diffusion_pytorch_model.safetensors");
    let whole = fs::read(&vae).expect("weights");
    fs::write(&vae, &whole[..whole.len() - 3]).expect("room");
    fail(&import, &models, &[], &["vae", "diffusion_pytorch_model.safetensors", "again"]);
    // NaN in half precision, at the end of the last tensor.
    let mut broken = whole.clone();
    let end = broken.len();
    broken[end - 2..].copy_from_slice(&0x7e00_u16.to_le_bytes());
    fs::write(&vae, &broken).expect("room");
    fail(&import, &models, &[], &["vae", "tensor", "not finite"]);
    fs::write(&vae, &whole).expect("room");
    fs::remove_file(source.join("tokenizer/merges.txt")).expect("a file");
    fail(&import, &models, &[], &["tokenizer/merges.txt"]);
}

#[test]
fn a_unet_alone_uses_the_parts_of_a_base() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (models, alone) = (scratch.path().join("models"), scratch.path().join("alone"));
    write(&repository(), &models.join("tiny"));
    let mut files = repository();
    files.retain(|name, _| name.starts_with("unet/"));
    write(&files, &alone);
    let source = alone.to_str().expect("a path");
    fail(&["import", source, "--name", "over"], &models, &[], &["--unet-only", "--base"]);
    let over = ["import", source, "--name", "over", "--unet-only", "--base"];
    fail(&[&over[..], &["absent"]].concat(), &models, &[], &["--base absent", "import it first"]);
    let output = succeed(&[&over[..], &["tiny"]].concat(), &models, &[]);
    assert!(output.contains("unet: ") && !output.contains("vae: "), "{output}");
    let origin = fs::read_to_string(models.join("over/origin.json")).expect("a file");
    assert!(origin.contains("\"base\": \"tiny\""), "{origin}");
    // The base of a UNet over a base is that base.
    succeed(&["import", source, "--name", "third", "--unet-only", "--base", "over"], &models, &[]);
    assert_eq!(fs::read_to_string(models.join("third/origin.json")).expect("a file"), origin);
    // Its export has the base's parts.
    let out = scratch.path().join("out");
    succeed(&["export", "over", "--out", out.to_str().expect("a path")], &models, &[]);
    assert!(out.join("vae/diffusion_pytorch_model.safetensors").is_file());
    let out = scratch.path().join("alone again");
    succeed(&["export", "over", "--unet-only", "--out", out.to_str().expect("a path")], &models, &[]);
    assert!(
        out.join("unet/config.json").is_file()
            && !out.join("vae").exists()
            && !out.join("model_index.json").exists()
    );
    // A UNet for another text width.
    let config = alone.join("unet/config.json");
    let mut other: Value = serde_json::from_slice(&fs::read(&config).expect("a config")).expect("JSON");
    other["cross_attention_dim"] = json!(13);
    fs::write(&config, other.to_string()).expect("room");
    fail(
        &["import", source, "--name", "no", "--unet-only", "--base", "tiny"],
        &models,
        &[],
        &["tensor", "to_k"],
    );
}

#[test]
fn a_single_file_gets_its_vocabulary_from_a_folder() {
    let scratch = tempfile::tempdir().expect("a folder");
    let models = scratch.path().join("models");
    fs::create_dir(&models).expect("room");
    let file = fixture("sources/sd1.ckpt");
    let file = file.to_str().expect("a path");
    fail(
        &["import", file, "--name", "one"],
        &models,
        &[("HF_HUB_OFFLINE", "1")],
        &["--tokenizer", "vocab.json"],
    );
    let tokenizer = scratch.path().join("tokenizer");
    small_vocabulary(&tokenizer);
    let one = ["import", file, "--name", "one", "--tokenizer", tokenizer.to_str().expect("a path")];
    let output = succeed(&one, &models, &[("HF_HUB_OFFLINE", "1")]);
    for words in [
        "Stable Diffusion 1 in one file",
        "moving averages",
        "unet: ",
        "128 x 128 pixels",
        "pndm",
        "the noise",
    ] {
        assert!(output.contains(words), "{output}");
    }
    assert!(
        models.join("one/tokenizer/vocab.json").is_file() && models.join("one/model_index.json").is_file()
    );
    let second = fixture("sources/sd2.ckpt");
    let second = [
        "import",
        second.to_str().expect("a path"),
        "--name",
        "two",
        "--tokenizer",
        tokenizer.to_str().expect("a path"),
    ];
    fail(&second, &models, &[], &["--prediction-type"]);
    let output = succeed(&[&second[..], &["--prediction-type", "v_prediction"]].concat(), &models, &[]);
    assert!(output.contains("the velocity"), "{output}");
    let many = fixture("model/tokenizer");
    let more = ["import", file, "--name", "more", "--tokenizer", many.to_str().expect("a path")];
    fail(&more, &models, &[], &["vocab.json", "613", "600"]);
}

/// Writes the fixture's vocabulary without its last merges: as many tokens as the small checkpoints have embeddings.
fn small_vocabulary(folder: &Path) {
    let from = fixture("model/tokenizer");
    let merges = fs::read_to_string(from.join("merges.txt")).expect("merges");
    let lines: Vec<&str> = merges.lines().collect();
    let (kept, dropped) = lines.split_at(lines.len() - 20);
    let dropped: Vec<String> = dropped.iter().map(|line| line.replace(' ', "")).collect();
    let vocabulary: BTreeMap<String, u32> =
        serde_json::from_slice(&fs::read(from.join("vocab.json")).expect("a vocabulary")).expect("JSON");
    let is_kept = |token: &String| token.ends_with("oftext|>") || !dropped.contains(token);
    let mut tokens: Vec<_> = vocabulary.into_iter().filter(|(token, _)| is_kept(token)).collect();
    tokens.sort_by_key(|(_, id)| *id);
    let renumbered: BTreeMap<String, usize> =
        tokens.into_iter().enumerate().map(|(i, (token, _))| (token, i)).collect();
    fs::create_dir(folder).expect("room");
    fs::write(folder.join("merges.txt"), kept.join("\n") + "\n").expect("room");
    fs::write(folder.join("vocab.json"), json!(renumbered).to_string()).expect("room");
}

#[test]
fn the_card_of_a_trained_model_states_its_spec() {
    let scratch = tempfile::tempdir().expect("a folder");
    let models = scratch.path().join("models");
    write(&repository(), &models.join("tiny"));
    let trained = scratch.path().join("run/models/step-0000040");
    let mut files = repository();
    files.retain(|name, _| name.starts_with("unet/") && !name.ends_with(".bin") && !name.contains("non_ema"));
    let spec = json!({
        "name": "mine", "base": "tiny", "objective": {"kind": "diff_contrast", "beta": 2000.0, "tau": 0.1},
        "data": {"source": "shapes", "set": "quality", "count": 256}, "steps": 50, "batch_size": 8,
        "learning_rate": {"rate": 1e-5},
    });
    files.insert("spec.json".to_owned(), spec.to_string().into_bytes());
    write(&files, &trained);
    let out = scratch.path().join("out");
    let arguments = ["export", trained.to_str().expect("a path"), "--out", out.to_str().expect("a path")];
    succeed(&arguments, &models, &[]);
    let card = fs::read_to_string(out.join("README.md")).expect("a card");
    for words in [
        "# mine",
        "`diff_contrast` from `tiny`",
        "| beta | 2000",
        "| tau | 0.1 |",
        "| steps | 40 of 50 |",
        "quality",
        "batch_size = 8",
    ] {
        assert!(card.contains(words), "{words} is not in {card}");
    }
}

#[test]
fn repositories_are_downloaded_resumed_and_cached() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (models, home) = (scratch.path().join("models"), scratch.path().join("home"));
    fs::create_dir(&models).expect("room");
    let mut alone = repository();
    alone.retain(|name, _| name.starts_with("unet/"));
    let repositories = BTreeMap::from([("someone/tiny", repository()), ("someone/alone", alone)]);
    let (hub, address) = Hub { repositories, breaks: Mutex::new(true), ..Hub::default() }.start();
    let home = home.to_str().expect("a path");
    let mut variables = vec![("HF_HOME", home), ("HF_ENDPOINT", address.as_str())];

    let import = ["import", "someone/tiny", "--name", "tiny"];
    fail(&import, &models, &variables, &["someone/tiny", "HF_TOKEN"]);
    variables.push(("HF_TOKEN", TOKEN));
    fail(
        &["import", "someone/absent", "--name", "tiny"],
        &models,
        &variables,
        &["someone/absent", "no such repository"],
    );
    let other = [&import[..], &["--revision", "v9"]].concat();
    fail(&other, &models, &variables, &["v9", "check the name and the revision"]);
    hub.take_requests();

    // The connection breaks in the middle of the largest file; the download resumes there.
    let output = succeed(&import, &models, &variables);
    assert!(output.contains("unet: "), "{output}");
    let requests = hub.take_requests();
    let resumed = requests.iter().any(|(path, range)| {
        let from = range
            .strip_prefix("bytes=")
            .and_then(|r| r.strip_suffix('-'))
            .and_then(|r| r.parse::<u64>().ok());
        path.contains("resolve") && from.is_some_and(|from| from > 0)
            || path.contains("elsewhere") && from.is_some_and(|from| from > 0)
    });
    assert!(resumed, "{requests:?}");
    for unwanted in ["safety_checker", ".bin", "non_ema", ".fp16."] {
        assert!(
            !requests.iter().any(|(path, _)| path.contains(unwanted)),
            "{unwanted} was fetched: {requests:?}"
        );
    }
    let origin = fs::read_to_string(models.join("tiny/origin.json")).expect("a file");
    assert!(origin.contains(COMMIT) && origin.contains("someone/tiny"), "{origin}");
    let expected = tensors(&fixture("model/unet/diffusion_pytorch_model.safetensors"));
    assert_eq!(tensors(&models.join("tiny/unet/diffusion_pytorch_model.safetensors")), expected);

    // A UNet alone over it, and the variant in half precision where a part has it.
    let over = ["import", "someone/alone", "--name", "over", "--unet-only", "--base", "tiny"];
    succeed(&over, &models, &variables);
    succeed(&["import", "someone/tiny", "--name", "half", "--variant", "fp16"], &models, &variables);
    assert!(models.join("half/vae/diffusion_pytorch_model.fp16.safetensors").is_file());
    assert!(models.join("half/unet/diffusion_pytorch_model.safetensors").is_file());

    // Offline, a cached repository is imported, and another is refused.
    hub.take_requests();
    let offline = [("HF_HOME", home), ("HF_ENDPOINT", address.as_str()), ("HF_HUB_OFFLINE", "1")];
    succeed(&["import", "someone/tiny", "--name", "cached"], &models, &offline);
    fail(
        &["import", "someone/other", "--name", "none"],
        &models,
        &offline,
        &["someone/other", "HF_HUB_OFFLINE"],
    );
    assert!(hub.take_requests().is_empty());
}

/// The hub accepts the connection and sends nothing, or stops in the middle of a file. The next import resumes.
#[test]
fn stalled_downloads_time_out() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (models, home) = (scratch.path().join("models"), scratch.path().join("home"));
    fs::create_dir(&models).expect("room");
    let repositories = BTreeMap::from([("someone/tiny", repository())]);
    let (hub, address) = Hub { repositories, ..Hub::default() }.start();
    let home = home.to_str().expect("a path");
    let address = address.as_str();
    let variables =
        [("HF_HOME", home), ("HF_ENDPOINT", address), ("HF_TOKEN", TOKEN), ("HF_HUB_DOWNLOAD_TIMEOUT", "2")];
    let import = ["import", "someone/tiny", "--name", "tiny"];
    for (path, after, what) in [
        ("/api/models/", 0, "someone/tiny: "),
        ("/elsewhere/", 0, ".safetensors: "),
        ("/elsewhere/", 20_000, ".safetensors: "),
    ] {
        *hub.stalls.lock().expect("a lock") = Some((path, after));
        let begun = Instant::now();
        fail(&import, &models, &variables, &[what, "no data for 2 s", "HF_HUB_DOWNLOAD_TIMEOUT", "Rerun"]);
        assert!(begun.elapsed() < Duration::from_secs(60), "it waited {:?}", begun.elapsed());
    }
    *hub.stalls.lock().expect("a lock") = None;
    hub.take_requests();
    succeed(&import, &models, &variables);
    let requests = hub.take_requests();
    assert!(requests.iter().any(|(_, range)| range == "bytes=20000-"), "{requests:?}");
    let expected = tensors(&fixture("model/unet/diffusion_pytorch_model.safetensors"));
    assert_eq!(tensors(&models.join("tiny/unet/diffusion_pytorch_model.safetensors")), expected);
    let wrong = [("HF_HUB_DOWNLOAD_TIMEOUT", "0")];
    fail(&import, &models, &wrong, &["--hf-hub-download-timeout", "1..=3600"]);
}

/// Changes a JSON file of a repository's files.
fn change(files: &mut BTreeMap<String, Vec<u8>>, name: &str, fields: &[(&str, Value)]) {
    let mut config: Value = serde_json::from_slice(&files[name]).expect("JSON");
    for (field, value) in fields {
        config[*field] = value.clone();
    }
    files.insert(name.to_owned(), config.to_string().into_bytes());
}

/// A scheduler without a sampler here, or settings that its sampler does not support: the flag chooses.
#[test]
fn a_sampler_can_be_chosen() {
    let scratch = tempfile::tempdir().expect("a folder");
    let models = scratch.path().join("models");
    fs::create_dir(&models).expect("room");
    let file = "scheduler/scheduler_config.json";
    for (number, (field, value, refused)) in [
        ("_class_name", json!("HeunDiscreteScheduler"), None),
        ("_class_name", json!("LMSDiscreteScheduler"), None),
        ("clip_sample", json!(true), Some("ddim")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut files = repository();
        files.remove("generation_config.json");
        change(&mut files, file, &[("_class_name", json!("DDIMScheduler")), (field, value)]);
        files.insert("generation_config.json".to_owned(), br#"{"guidance_scale": 3}"#.to_vec());
        let source = scratch.path().join(format!("source {number}"));
        write(&files, &source);
        let (source, name) = (source.to_str().expect("a path"), format!("model-{number}"));
        let import = ["import", source, "--name", &name];
        fail(&import, &models, &[], &["--sampler", source, file, field, "euler"]);
        if let Some(refused) = refused {
            fail(
                &[&import[..], &["--sampler", refused]].concat(),
                &models,
                &[],
                &["--sampler", field, refused],
            );
        }
        fail(&[&import[..], &["--sampler", "heun"]].concat(), &models, &[], &["--sampler", "heun", "euler"]);
        let output = succeed(&[&import[..], &["--sampler", "euler"]].concat(), &models, &[]);
        assert!(output.contains(", euler, predicts"), "{output}");
        let recorded = fs::read(models.join(&name).join("generation_config.json")).expect("a file");
        let recorded: Value = serde_json::from_slice(&recorded).expect("JSON");
        assert_eq!(recorded, json!({ "guidance_scale": 3, "sampler": "euler" }));
    }
}

/// A schedule without signal at the last timestep is imported, and draws.
#[test]
fn zero_terminal_snr_is_imported() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (source, models) = (scratch.path().join("source"), scratch.path().join("models"));
    let file = "scheduler/scheduler_config.json";
    let zero = [
        ("rescale_betas_zero_snr", json!(true)),
        ("timestep_spacing", json!("trailing")),
        ("prediction_type", json!("epsilon")),
    ];
    let mut files = repository();
    change(&mut files, file, &zero);
    write(&files, &source);
    let import = ["import", source.to_str().expect("a path"), "--name", "zero"];
    fs::create_dir(&models).expect("room");
    fail(&import, &models, &[], &["rescale_betas_zero_snr", "v_prediction"]);
    change(&mut files, file, &[("prediction_type", json!("v_prediction"))]);
    write(&files, &source);
    let output = succeed(&import, &models, &[]);
    assert!(output.contains("predicts the velocity, no signal at the last timestep"), "{output}");
    let out = scratch.path().join("out");
    let export = ["export", "zero", "--out", out.to_str().expect("a path"), "--sample", "a red circle"];
    succeed(&export, &models, &[]);
    assert!(out.join("sample.png").is_file());
}

/// Learnt tokens in added_tokens.json, and a tokenizer in the one file of transformers 5, are imported and exported.
#[test]
fn tokenizers_are_imported_whole() {
    let scratch = tempfile::tempdir().expect("a folder");
    let models = scratch.path().join("models");
    fs::create_dir(&models).expect("room");
    let embeddings = |files: &BTreeMap<String, Vec<u8>>| -> usize {
        let config: Value = serde_json::from_slice(&files["text_encoder/config.json"]).expect("JSON");
        config["vocab_size"].as_u64().expect("a number") as usize
    };
    // A learnt token without an embedding.
    let mut files = repository();
    let rows = embeddings(&files);
    files.insert(
        "tokenizer/added_tokens.json".to_owned(),
        json!({ "<cat-toy>": rows }).to_string().into_bytes(),
    );
    let source = scratch.path().join("learnt");
    write(&files, &source);
    let learnt = ["import", source.to_str().expect("a path"), "--name", "learnt"];
    fail(&learnt, &models, &[], &["tokenizer", "<cat-toy>", &rows.to_string(), &(rows + 1).to_string()]);
    // With one.
    let name = "text_encoder/model.safetensors";
    let old = files[name].clone();
    let read = SafeTensors::deserialize(&old).expect("safetensors");
    let embedding = "text_model.embeddings.token_embedding.weight";
    let longer = |view: safetensors::tensor::TensorView<'_>| {
        let (mut shape, mut data) = (view.shape().to_vec(), view.data().to_vec());
        let row = data.len() / shape[0];
        shape[0] += 1;
        data.extend_from_within(data.len() - row..);
        (shape, data)
    };
    let tensors: Vec<_> = read.tensors();
    let changed: Vec<_> = tensors
        .iter()
        .map(|(tensor, view)| {
            let (shape, data) = if tensor == embedding {
                longer(view.clone())
            } else {
                (view.shape().to_vec(), view.data().to_vec())
            };
            (tensor.clone(), view.dtype(), shape, data)
        })
        .collect();
    let views = changed.iter().map(|(tensor, dtype, shape, data)| {
        let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).expect("a tensor");
        (tensor.clone(), view)
    });
    files.insert(name.to_owned(), safetensors::serialize(views, None).expect("bytes"));
    change(&mut files, "text_encoder/config.json", &[("vocab_size", json!(rows + 1))]);
    write(&files, &source);
    succeed(&learnt, &models, &[]);
    let out = scratch.path().join("out");
    succeed(&["export", "learnt", "--out", out.to_str().expect("a path")], &models, &[]);
    assert!(out.join("tokenizer/added_tokens.json").is_file());

    // One file instead of two. It has the learnt token.
    for gone in ["vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"] {
        files.remove(&format!("tokenizer/{gone}"));
    }
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let bytes = fs::read(fixture("learnt_tokens").join(name)).expect("a file");
        files.insert(format!("tokenizer/{name}"), bytes);
    }
    let source = scratch.path().join("one");
    write(&files, &source);
    succeed(&["import", source.to_str().expect("a path"), "--name", "one"], &models, &[]);
    assert!(models.join("one/tokenizer/tokenizer.json").is_file());
}

/// What cannot draw from text is refused with a sentence, and what is left out is named.
#[test]
fn unfit_parts_are_refused_and_unused_files_named() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (source, models) = (scratch.path().join("source"), scratch.path().join("models"));
    let files = repository();
    write(&files, &source);
    let output = succeed(&["import", source.to_str().expect("a path"), "--name", "tiny"], &models, &[]);
    for words in [
        "other weights of parts",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "safety_checker/model.safetensors",
    ] {
        assert!(output.contains(words), "{words} is not in {output}");
    }
    let mut files = files;
    // A byte order mark, and a number that JSON does not have.
    let config = String::from_utf8(files["vae/config.json"].clone()).expect("text");
    let marked = format!("\u{feff}{}", config.trim_start().replacen('{', "{\"theirs\": NaN,", 1));
    files.insert("vae/config.json".to_owned(), marked.into_bytes());
    change(&mut files, "text_encoder/config.json", &[("theirs", json!("x"))]);
    let source = scratch.path().join("marked");
    write(&files, &source);
    succeed(&["import", source.to_str().expect("a path"), "--name", "marked"], &models, &[]);
}

/// A single file that says of itself that it predicts the velocity, and one for inpainting.
#[test]
fn statements_and_channels_of_a_single_file() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (models, tokenizer) = (scratch.path().join("models"), scratch.path().join("tokenizer"));
    fs::create_dir(&models).expect("room");
    small_vocabulary(&tokenizer);
    let original = fixture("sources/sdxl.ckpt");
    let converted = scratch.path().join("sdxl.safetensors");
    let paths = [&original, &converted, &tokenizer].map(|path| path.to_str().expect("a path").to_owned());
    let [original, converted, tokenizer] = paths;
    let convert = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .args(["convert", &original, &converted, "--root", "state_dict"])
        .output()
        .expect("the program");
    assert!(convert.status.success(), "{}", String::from_utf8_lossy(&convert.stderr));
    let bytes = fs::read(&converted).expect("a file");
    let read = SafeTensors::deserialize(&bytes).expect("safetensors");
    let marked = scratch.path().join("marked.safetensors");
    let empty =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![0], &[]).expect("a tensor");
    let markers = ["v_pred", "ztsnr"].map(|name| (name.to_owned(), empty.clone()));
    let tensors = read.tensors().into_iter().chain(markers);
    fs::write(&marked, safetensors::serialize(tensors, None).expect("bytes")).expect("room");
    let marked = marked.to_str().expect("a path");
    let import = ["import", marked, "--name", "marked", "--tokenizer", &tokenizer];
    let output = succeed(&import, &models, &[]);
    for words in
        ["v_pred", "ztsnr", "predicts the velocity, no signal at the last timestep", "left out, ", "betas"]
    {
        assert!(output.contains(words), "{words} is not in {output}");
    }
    let schedule = fs::read(models.join("marked/scheduler/scheduler_config.json")).expect("a file");
    let schedule: Value = serde_json::from_slice(&schedule).expect("JSON");
    assert_eq!(
        (&schedule["prediction_type"], &schedule["rescale_betas_zero_snr"], &schedule["timestep_spacing"]),
        (&json!("v_prediction"), &json!(true), &json!("trailing"))
    );
    let left_out = fs::read_to_string(models.join("marked/left_out.txt")).expect("a list");
    assert!(left_out.contains("betas") && !left_out.contains("v_pred"), "{left_out}");

    let second =
        ["import", marked, "--name", "second", "--tokenizer", &tokenizer, "--prediction-type", "epsilon"];
    fail(&second, &models, &[], &["ztsnr", "--prediction-type epsilon"]);

    // The first convolution of an inpainting model takes the mask and the masked image as well.
    let name = "model.diffusion_model.input_blocks.0.0.weight";
    let first = read.tensor(name).expect("a convolution");
    let [out, _, height, width] = first.shape()[..] else { panic!("{:?}", first.shape()) };
    let zeros =
        vec![0; out * 9 * height * width * first.data().len() / first.shape().iter().product::<usize>()];
    let wide = safetensors::tensor::TensorView::new(first.dtype(), vec![out, 9, height, width], &zeros);
    let wide = wide.expect("a tensor");
    let tensors = read.tensors().into_iter().map(|(tensor, view)| {
        let view = if tensor == name { wide.clone() } else { view };
        (tensor, view)
    });
    let inpainting = scratch.path().join("inpainting.safetensors");
    fs::write(&inpainting, safetensors::serialize(tensors, None).expect("bytes")).expect("room");
    let import =
        ["import", inpainting.to_str().expect("a path"), "--name", "inpaint", "--tokenizer", &tokenizer];
    const SENTENCE: &str =
        "unet/config.json: in_channels: takes 9 channels: an inpainting model draws nothing from text alone";
    fail(&import, &models, &[], &[SENTENCE]);
    let (_, stderr, _) = run(&import, &models, &[]);
    assert!(!stderr.contains(".part"), "{stderr}");
}

/// Rewrites the tensors of a safetensors file: type, shape and bytes by name.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn change_tensors(from: &Path, to: &Path, change: impl FnOnce(&mut Tensors)) {
    let bytes = fs::read(from).expect("a file");
    let read = SafeTensors::deserialize(&bytes).expect("safetensors").tensors().into_iter();
    let mut tensors: Tensors =
        read.map(|(name, t)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec()))).collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).expect("bytes"))
    });
    fs::create_dir_all(to.parent().expect("a folder")).expect("room");
    fs::write(to, safetensors::serialize(views, None).expect("tensors")).expect("room");
}

const ADAPTER: &str = "pytorch_lora_weights.safetensors";

/// An adapter of any name, in the naming of kohya's scripts or of diffusers, as a file or alone in a folder, becomes the file
/// that the server reads.
#[test]
fn an_adapter_is_imported_under_a_name() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (models, downloads) = (scratch.path().join("models"), scratch.path().join("downloads"));
    write(&repository(), &models.join("tiny"));
    for writer in ["kohya", "diffusers"] {
        let file = downloads.join(writer).join("My Style v1.0 (SD1.5).safetensors");
        change_tensors(&fixture("lora_text_sd15").join(writer).with_extension("safetensors"), &file, |_| {});
        for (source, name) in [
            (file.as_path(), writer.to_owned()),
            (file.parent().expect("a folder"), format!("{writer}-folder")),
        ] {
            let source = source.to_str().expect("a path");
            let output = succeed(&["import", source, "--name", &name], &models, &[]);
            for words in ["unet: an adapter of", "text_encoder: an adapter of", "`lora` of a request"] {
                assert!(output.contains(words), "{output}");
            }
            let made = models.join(&name);
            assert!(
                fs::read(made.join(ADAPTER)).expect("an adapter") == fs::read(&file).expect("the source")
            );
            assert!(
                fs::read_to_string(made.join("origin.json")).expect("an origin").contains("My Style")
                    || name.ends_with("folder")
            );
        }
    }
    let kohya = downloads.join("kohya/My Style v1.0 (SD1.5).safetensors");
    let import = ["import", kohya.to_str().expect("a path"), "--name"];
    // Over a base, it is checked against it, and can be exported with it.
    succeed(&[&import[..], &["over", "--base", "tiny"]].concat(), &models, &[]);
    let out = scratch.path().join("out");
    succeed(&["export", "over", "--out", out.to_str().expect("a path")], &models, &[]);
    for part in ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"] {
        let values = |folder: &Path| {
            candle_core::safetensors::load(folder.join(part), &candle_core::Device::Cpu).expect("weights")
        };
        let (fused, base) = (values(&out), values(&models.join("tiny")));
        let changed = fused.iter().filter(|(name, tensor)| {
            let base = base[*name].to_dtype(candle_core::DType::F32);
            let difference = base.and_then(|base| (*tensor - base)?.abs()?.sum_all()?.to_scalar::<f32>());
            difference.expect("numbers") > 0.0
        });
        assert!(changed.count() > 3, "{part} has no update");
    }
    let other = fixture("lora_text_sdxl/kohya.safetensors");
    let other = ["import", other.to_str().expect("a path"), "--name", "no", "--base", "tiny"];
    fail(&other, &models, &[], &["does not fit the base tiny", "lora_te"]);
    for flag in [&["--unet-only", "--base", "tiny"][..], &["--ema"], &["--variant", "fp16"], &["--clip", "x"]]
    {
        fail(&[&import[..], &["no"], flag].concat(), &models, &[], &[flag[0]]);
    }
    // Damaged, incomplete, or of another kind.
    let bad = scratch.path().join("bad.safetensors");
    let import = ["import", bad.to_str().expect("a path"), "--name", "bad"];
    let name = "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight";
    change_tensors(&kohya, &bad, |tensors| {
        let (dtype, _, data) = tensors.get_mut(name).expect(name);
        assert_eq!(*dtype, Dtype::F16);
        data[..2].copy_from_slice(&0x7e00_u16.to_le_bytes());
    });
    fail(&import, &models, &[], &[name, "not finite"]);
    change_tensors(&kohya, &bad, |tensors| drop(tensors.remove(name)));
    fail(&import, &models, &[], &["lora_te_text_model_encoder_layers_0_mlp_fc1.", "no matching lora_B (up)"]);
    change_tensors(&kohya, &bad, |tensors| {
        tensors.insert(name.replace("lora_up.weight", "dora_scale"), (Dtype::F32, vec![1], vec![0; 4]));
    });
    fail(&import, &models, &[], &["dora_scale", "DoRA"]);
}

/// PEFT stores the strength in a file of its own, which is copied too.
#[test]
fn an_adapter_of_peft_needs_its_settings() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (models, folder) = (scratch.path().join("models"), scratch.path().join("peft"));
    fs::create_dir(&models).expect("room");
    change_tensors(
        &fixture("lora_attention/diffusers.safetensors"),
        &folder.join("adapter_model.safetensors"),
        |tensors| {
            *tensors = std::mem::take(tensors)
                .into_iter()
                .map(|(name, t)| {
                    let name = name.replace("unet.", "base_model.model.");
                    (name.replace("lora.down", "lora_A").replace("lora.up", "lora_B"), t)
                })
                .collect();
        },
    );
    let import = ["import", folder.to_str().expect("a path"), "--name", "peft"];
    fail(&import, &models, &[], &["adapter_config.json"]);
    fs::write(folder.join("adapter_config.json"), r#"{ "r": 3, "lora_alpha": 6 }"#).expect("room");
    succeed(&import, &models, &[]);
    assert!(models.join("peft").join(ADAPTER).is_file() && models.join("peft/adapter_config.json").is_file());
}

/// Types that are not read are refused before a part is written; 8-bit floats are read.
#[test]
fn the_types_of_a_single_file_are_checked_before_it_is_split() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (models, tokenizer) = (scratch.path().join("models"), scratch.path().join("tokenizer"));
    fs::create_dir(&models).expect("room");
    small_vocabulary(&tokenizer);
    let (whole, file) = (scratch.path().join("whole.safetensors"), scratch.path().join("file.safetensors"));
    let converted = [fixture("sources/sd1.ckpt"), whole.clone()];
    let [from, to] = converted.each_ref().map(|path| path.to_str().expect("a path"));
    let output = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .args(["convert", from, to, "--root", "state_dict"])
        .output()
        .expect("the program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let import = [
        "import",
        file.to_str().expect("a path"),
        "--name",
        "x",
        "--tokenizer",
        tokenizer.to_str().expect("a path"),
    ];
    for (prefix, dtype) in [
        ("model.diffusion_model.", Dtype::I8),
        ("first_stage_model.", Dtype::U8),
        ("cond_stage_model.", Dtype::I64),
    ] {
        let mut changed = String::new();
        change_tensors(&whole, &file, |tensors| {
            let is_weight = |name: &str| name.starts_with(prefix) && name.ends_with(".weight");
            let (name, tensor) = tensors.iter_mut().find(|(name, _)| is_weight(name)).expect(prefix);
            changed.clone_from(name);
            let count = tensor.1.iter().product::<usize>();
            *tensor = (dtype, tensor.1.clone(), vec![1; count * dtype.bitsize() / 8]);
        });
        fail(&import, &models, &[], &["file.safetensors", &changed, &dtype.to_string()]);
        let (stdout, _, _) = run(&import, &models, &[]);
        assert!(!stdout.contains("writing"), "{stdout}");
    }
    change_tensors(&whole, &file, |tensors| {
        for (name, (dtype, shape, data)) in tensors.iter_mut() {
            if name.starts_with("model.diffusion_model.") {
                let count = shape.iter().product::<usize>();
                (*dtype, *data) = (Dtype::F8_E4M3, (0..count).map(|i| (i * 37 % 0x38) as u8).collect());
            }
        }
    });
    let output = succeed(&import, &models, &[]);
    assert!(output.contains("of F8_E4M3"), "{output}");
    let out = scratch.path().join("out");
    succeed(&["export", "x", "--out", out.to_str().expect("a path"), "--sample", "a star"], &models, &[]);
    assert!(out.join("sample.png").is_file());
    change_tensors(&file, &file, |tensors| {
        let scale = (Dtype::F32, vec![], vec![0; 4]);
        tensors.insert("model.diffusion_model.input_blocks.0.0.scale_weight".to_owned(), scale);
    });
    let again = [&import[..3], &["y"], &import[4..]].concat();
    fail(&again, &models, &[], &["input_blocks.0.0.scale_weight", "scaled fp8"]);
}

/// The types of a folder are checked before any file is copied.
#[test]
fn the_types_of_a_folder_are_checked_before_it_is_copied() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (models, source) = (scratch.path().join("models"), scratch.path().join("source"));
    fs::create_dir(&models).expect("room");
    write(&repository(), &source);
    let vae = source.join("vae/diffusion_pytorch_model.safetensors");
    change_tensors(&vae, &vae, |tensors| {
        let (dtype, shape, data) = tensors.get_mut("decoder.conv_in.weight").expect("a weight");
        (*dtype, *data) = (Dtype::I8, vec![1; shape.iter().product()]);
    });
    let import = ["import", source.to_str().expect("a path"), "--name", "x"];
    fail(&import, &models, &[], &["vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.weight", "I8"]);
    // Weights in bf16 alone are found, and preferred on request.
    write(&repository(), &source);
    let named = |part: &str| source.join(format!("unet/diffusion_pytorch_model{part}.safetensors"));
    fs::rename(named(""), named(".bf16")).expect("renamed");
    fs::remove_file(source.join("unet/diffusion_pytorch_model.bin")).expect("removed");
    succeed(&import, &models, &[]);
    assert!(models.join("x/unet/diffusion_pytorch_model.bf16.safetensors").is_file());
    fs::copy(named(".bf16"), named("")).expect("copied");
    for (name, flags, file) in [("full", &[][..], ""), ("half", &["--variant", "bf16"], ".bf16")] {
        succeed(
            &[&["import", source.to_str().expect("a path"), "--name", name][..], flags].concat(),
            &models,
            &[],
        );
        assert!(
            models.join(name).join("unet").join(named(file).file_name().expect("a name")).is_file(),
            "{name}"
        );
    }
}
