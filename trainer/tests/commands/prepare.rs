//! Encoding a set: a killed and restarted run gives the same bytes, unchanged parts are kept, and training on shards
//! equals training on the images.

use anyhow::Result;
use candle_core::{Device, Tensor};
use diffusion::clip::TextTower;
use diffusion::conditioning::Conditioning;
use diffusion::noise::Noise;
use diffusion::part_folders::PartFolders;
use diffusion::schedule::Schedule;
use diffusion::tape::BackwardMode;
use diffusion::tokenizer::Tokenizer;
use diffusion::unet::Unet;
use diffusion::vae::Autoencoder;
use diffusion::weights::{Parameters, Variables};
use domain::data::DataSpec;
use domain::dataset::Reason;
use domain::prepare::{ImageFilterSpec, ImageSpec, Manifest};
use domain::train::{ErrorSpace, Objective, OptimizerSpec, TrainSpec};
use evaluation::clip::Clip;
use evaluation::safety_checker::SafetyChecker;
use image::{ImageFormat, RgbImage};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use training::data::batch::{Batch, Batches};
use training::data::encoded::EncodedSet;
use training::data::images::images_to_tensor;
use training::data::prepare::Plan;
use training::data::tensor_name::{Side, TensorName};
use training::forward::{Forward, PassOptions};
use training::objectives::ClipFeatures;
use training::optim::{Gradients, Optimiser};
use training::recipes::objective::objective;

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/shapes")
}

/// Writes a folder of pairs of the bundled world as PNG files. One file is damaged.
fn folder_set(folder: &Path, pairs: u64) -> DataSpec {
    std::fs::create_dir(folder).expect("made");
    let mut list = String::new();
    for seed in 0..pairs {
        let pair = shapes::quality::quality_pair(seed);
        for (side, image) in [("w", &pair.winner), ("l", &pair.loser)] {
            let mut bytes = Vec::new();
            image.to_image().write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).expect("encodes");
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

fn prepare(out: &Path, data: &DataSpec, folders: &PartFolders) -> Result<Manifest> {
    prepare_with(out, data, None, folders)
}

fn prepare_with(
    out: &Path,
    data: &DataSpec,
    filter: Option<&ImageFilterSpec>,
    folders: &PartFolders,
) -> Result<Manifest> {
    let plan = Plan::new(data, &ImageSpec::default(), filter, 4, true, folders)?;
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
fn shards_hold_the_encoders_outputs_of_each_image() {
    let scratch = tempfile::tempdir().expect("a folder");
    let source = scratch.path().join("set");
    let data = folder_set(&source, 11);
    let folders = PartFolders::new(&bundled(), None);
    let out = scratch.path().join("out");
    let manifest = prepare(&out, &data, &folders).expect("encodes");
    assert_eq!(manifest.examples, [3, 4, 3]);
    assert_eq!((manifest.report.rows, manifest.report.pairs), (11, 10));
    let damaged = manifest.report.named[0].to_string();
    assert!(damaged.starts_with("pairs.jsonl row 4: damaged image: the loser"), "{damaged}");
    assert_eq!(manifest.left_out, BTreeMap::from([("pairs.jsonl".to_owned(), BTreeSet::from([3]))]));

    let set = EncodedSet::open(&out, &manifest).expect("opens");
    assert_eq!(set.len(), 10);
    let (vae, _) = Autoencoder::load(&bundled().join("vae"), &Device::Cpu, false).expect("a VAE");
    let (text, _) = TextTower::load(&bundled().join("text_encoder"), &Device::Cpu).expect("a text tower");
    let tokenizer = Tokenizer::load(&bundled().join("tokenizer")).expect("a tokenizer");
    // One at a time and out of order; the shards were encoded four at a time.
    for (row, seed) in [(9u32, 10u64), (0, 0), (3, 4), (2, 2), (6, 7)] {
        let pair = shapes::quality::quality_pair(seed);
        for (side, image) in [(Side::Winner, &pair.winner), (Side::Loser, &pair.loser)] {
            let images: [RgbImage; 1] = [image.to_image()];
            let posterior =
                vae.encode(&images_to_tensor(&images, &Device::Cpu).expect("a tensor")).expect("encodes");
            let mean = set.rows(TensorName::Mean { side, mirrored: false }, &[row]).expect("rows");
            assert_close(&mean, &posterior.mean);
            let log_variance = TensorName::LogVariance { side, mirrored: false };
            assert_close(&set.rows(log_variance, &[row]).expect("rows"), &posterior.log_variance);
        }
        let caption = set.captions_of(&[row]).expect("a caption");
        let ids = [tokenizer.encode(&pair.caption).expect("ids")];
        assert_close(
            &set.rows(TensorName::TextStates, &caption).expect("text"),
            &text.forward(&ids).expect("states"),
        );
    }
    let ids = [tokenizer.encode("").expect("ids")];
    assert_close(
        &set.rows(TensorName::TextStates, &[0]).expect("text"),
        &text.forward(&ids).expect("states"),
    );
    let mean = TensorName::Mean { side: Side::Winner, mirrored: false };
    let many = set.rows(mean, &[7, 1, 7]).expect("rows");
    assert_close(&many.narrow(0, 1, 1).expect("one"), &set.rows(mean, &[1]).expect("rows"));
    assert!(set.rows(mean, &[10]).is_err() && set.captions_of(&[10]).is_err());
}

/// Modification times of the set's files.
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

/// A caption of more tokens than the text encoder takes is counted, with what is lost of it.
#[test]
fn cut_captions_are_in_the_account() {
    let scratch = tempfile::tempdir().expect("a folder");
    let source = scratch.path().join("set");
    let data = folder_set(&source, 6);
    let folders = PartFolders::new(&bundled(), None);
    let whole = prepare(&scratch.path().join("whole"), &data, &folders).expect("encodes");
    assert_eq!(whole.cut, None);
    let list = source.join("pairs.jsonl");
    let text = std::fs::read_to_string(&list).expect("a list");
    let long = "a red circle ".repeat(40);
    let lines = text.lines().enumerate().map(|(i, line)| {
        let mut row: serde_json::Value = serde_json::from_str(line).expect("a row");
        if i % 2 == 0 {
            row["prompt"] = long.clone().into();
        }
        format!("{row}\n")
    });
    std::fs::write(&list, lines.collect::<String>()).expect("written");
    let out = scratch.path().join("out");
    let cut = prepare(&out, &data, &folders).expect("encodes").cut.expect("cut captions");
    // The bundled model's text encoder takes 24 tokens: start, 22 of the text, end.
    assert_eq!((cut.count, cut.text.trim(), cut.tokens), (3, long.trim(), 120 - 22));
    assert_eq!(cut.dropped, format!("red circle {}", "a red circle ".repeat(32)).trim());
    // The account does not depend on which shards were encoded before.
    std::fs::remove_file(out.join("manifest.json")).expect("a manifest");
    assert_eq!(prepare(&out, &data, &folders).expect("encodes").cut, Some(cut));
}

#[test]
fn a_change_invalidates_only_the_parts_that_depend_on_it() {
    let scratch = tempfile::tempdir().expect("a folder");
    let model = scratch.path().join("model");
    copy(&bundled(), &model);
    let folders = PartFolders::new(&model, None);
    let data: DataSpec = toml::from_str("source = 'shapes'\nset = 'winter'\ncount = 6").expect("a spec");
    let out = scratch.path().join("out");
    let first = prepare(&out, &data, &folders).expect("encodes");
    let before = written(&out);
    assert_eq!(before.len(), 7, "two shards of three parts, and the manifest");
    prepare(&out, &data, &folders).expect("up to date");
    assert_eq!(written(&out), before, "parts that are up to date are not encoded again");

    // Another text encoder. A change of its config file is enough, because the file is hashed.
    let config = model.join("text_encoder/config.json");
    let text = std::fs::read_to_string(&config).expect("a config");
    std::fs::write(&config, text + "\n").expect("written");
    let second = prepare(&out, &data, &folders).expect("encodes");
    let after = written(&out);
    for (name, time) in &after {
        let is_new = name.starts_with("text-") || name == "manifest.json";
        assert_eq!(before[name] != *time, is_new, "{name}");
    }
    assert_eq!(first.parts["latents"], second.parts["latents"]);
    assert_ne!(first.parts["text"].key, second.parts["text"].key);

    // A shorter set: other shards, and the old ones are removed.
    let data: DataSpec = toml::from_str("source = 'shapes'\nset = 'winter'\ncount = 4").expect("a spec");
    prepare(&out, &data, &folders).expect("encodes");
    assert_eq!(written(&out).len(), 4);

    // A set that was encoded by other encoders is refused.
    let prepared: DataSpec =
        toml::from_str(&format!("source = 'prepared'\nfolder = '{}'", out.display())).expect("a spec");
    let cache = scratch.path().join("cache");
    let open = |folders: &PartFolders| {
        let as_it_is = ImageSpec::default();
        EncodedSet::prepare(&prepared, &as_it_is, folders, true, &cache, &Device::Cpu, &mut |_, _| Ok(()))
    };
    assert_eq!(open(&folders).expect("opens").len(), 4);
    let problem =
        format!("{:#}", open(&PartFolders::new(&bundled(), None)).expect_err("another text encoder"));
    assert!(
        problem.contains("text_encoder/config.json") && problem.contains("prepare it again"),
        "{problem}"
    );
}

/// Writes a safety checker with random weights. Its first concept has this threshold; the others flag nothing.
fn checker(folder: &Path, threshold: f32) -> ImageFilterSpec {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/evaluation/tests/fixtures/safety_checker");
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::copy(fixture.join("config.json"), folder.join("config.json")).expect("copied");
    let mut tensors: HashMap<String, Tensor> =
        candle_core::safetensors::load(fixture.join("model.safetensors"), &Device::Cpu).expect("weights");
    for (name, first) in [("concept_embeds_weights", threshold), ("special_care_embeds_weights", 2.0)] {
        let mut thresholds = vec![2f32; tensors[name].elem_count()];
        thresholds[0] = first;
        let count = thresholds.len();
        tensors.insert(name.into(), Tensor::from_vec(thresholds, count, &Device::Cpu).expect("a tensor"));
    }
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).expect("saved");
    ImageFilterSpec { safety_checker: folder.display().to_string() }
}

#[test]
fn flagged_images_are_left_out_and_reported() {
    let scratch = tempfile::tempdir().expect("a folder");
    let source = scratch.path().join("set");
    let data = folder_set(&source, 11);
    let folders = PartFolders::new(&bundled(), None);

    // The checker's scores of each pair's two images; row 3 is damaged.
    let folder = scratch.path().join("safety_checker");
    let open = checker(&folder, 0.0);
    let network = SafetyChecker::open(&folder, &Device::Cpu).expect("opens");
    let cosine =
        |image: &shapes::Image| network.check(&[image.to_image()]).expect("a verdict")[0].concepts[0];
    let pairs: Vec<_> =
        (0..11u64).filter(|&row| row != 3).map(|row| (row, shapes::quality::quality_pair(row))).collect();
    let cosines: Vec<_> =
        pairs.iter().map(|(row, pair)| (*row, [cosine(&pair.winner), cosine(&pair.loser)])).collect();
    let mut sorted: Vec<f32> = cosines.iter().map(|(_, [winner, loser])| winner.max(*loser)).collect();
    sorted.sort_by(f32::total_cmp);
    // A threshold in the widest gap near the middle, so that rounding does not matter.
    let middle = (2..8).max_by(|&a, &b| (sorted[a + 1] - sorted[a]).total_cmp(&(sorted[b + 1] - sorted[b])));
    let middle = middle.expect("a gap");
    let threshold = f32::midpoint(sorted[middle], sorted[middle + 1]);
    let filter = checker(&folder, threshold);
    assert_eq!(filter, open);
    let flagged: Vec<u64> = cosines
        .iter()
        .filter(|(_, cosines)| cosines.iter().any(|&cosine| cosine > threshold))
        .map(|(row, _)| *row)
        .collect();
    assert!((2..=7).contains(&flagged.len()), "{sorted:?}");

    let out = scratch.path().join("out");
    let manifest = prepare_with(&out, &data, Some(&filter), &folders).expect("encodes");
    let named = |manifest: &Manifest| -> Vec<u64> {
        let of = manifest.report.named.iter().filter(|dropped| dropped.reason == Reason::FlaggedImage);
        of.map(|dropped| dropped.source.row).collect()
    };
    assert_eq!(named(&manifest), flagged);
    assert_eq!(manifest.report.pairs as usize, 10 - flagged.len());
    assert_eq!(manifest.report.dropped[&Reason::DamagedImage], 1);
    assert_eq!(manifest.left_out["pairs.jsonl"], flagged.iter().copied().chain([3]).collect());
    assert_eq!(manifest.image_filter.keys().collect::<Vec<_>>(), ["config.json", "model.safetensors"]);
    let set = EncodedSet::open(&out, &manifest).expect("opens");
    let rows: Vec<u32> = (0..set.len() as u32).collect();
    let kept = pairs.iter().filter(|(row, _)| !flagged.contains(row)).map(|(_, pair)| pair.caption.clone());
    assert_eq!(set.caption_texts(&rows).expect("captions"), kept.collect::<Vec<_>>());

    // The same filter keeps every part; another filter, or none, encodes every part again.
    let before = written(&out);
    assert_eq!(prepare_with(&out, &data, Some(&filter), &folders).expect("up to date"), manifest);
    assert_eq!(written(&out), before);
    let mild = checker(&folder, 2.0);
    let second = prepare_with(&out, &data, Some(&mild), &folders).expect("encodes");
    assert_eq!((named(&second), second.report.pairs), (vec![], 10));
    for (part, made) in &manifest.parts {
        assert_ne!(made.key, second.parts[part].key, "{part}");
        assert_eq!(made.encoder, second.parts[part].encoder, "{part}");
    }
    let none = prepare(&out, &data, &folders).expect("encodes");
    assert!(none.image_filter.is_empty() && none.parts["latents"].key != second.parts["latents"].key);
    std::fs::remove_file(folder.join("model.safetensors")).expect("removed");
    let problem = format!("{:#}", prepare_with(&out, &data, Some(&mild), &folders).expect_err("no weights"));
    assert!(
        problem.contains("image_filter.safety_checker") && problem.contains("model.safetensors"),
        "{problem}"
    );
}

/// Also for sets of the bundled world, and the dropped rows are reported.
#[test]
fn the_image_filter_of_a_spec_file_is_applied() {
    let scratch = tempfile::tempdir().expect("a folder");
    let filter = checker(&scratch.path().join("safety_checker"), -2.0);
    let config = scratch.path().join("spec.toml");
    let spec = |checker: &str| {
        let text = format!(
            "base = 'shapes'\nout = '{}'\nclip = false\nimage_filter = {{ safety_checker = '{checker}' }}\n\
             data = {{ source = 'shapes', set = 'winter', count = 5, seed = 9 }}",
            scratch.path().join("out").display()
        );
        std::fs::write(&config, text).expect("written");
        let output = start(&config).wait_with_output().expect("an exit status");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let all = spec(&filter.safety_checker);
    assert!(all.contains("0 examples of 5 rows, 5 flagged image"), "{all}");
    assert!(spec(" ").contains("image_filter.safety_checker"));
}

/// The networks and the optimiser of a training run, and its step on a given batch.
struct Trainer {
    policy: Unet,
    variables: Variables,
    reference: Unet,
    optimiser: Optimiser,
}

impl Trainer {
    fn new(folders: &PartFolders) -> Self {
        let folder = folders.part("unet").expect("a UNet");
        let (policy, variables) = Unet::load(&folder, &Device::Cpu, true).expect("the policy");
        // Other weights than the policy's: otherwise the first loss would be ln 2 for all images.
        let scaled = |variable: &Tensor| (variable * 0.98).expect("a tensor");
        let weights = variables.iter().map(|(name, of)| (name.clone(), scaled(&of.as_detached_tensor())));
        let weights = Parameters::of_tensors(weights.collect(), &Device::Cpu);
        let reference = Unet::new(&weights.root(), policy.config().clone()).expect("the reference");
        let optimiser = Optimiser::new(&OptimizerSpec::default(), &variables).expect("an optimiser");
        Self { policy, variables, reference, optimiser }
    }

    fn step(&mut self, spec: &Objective, schedule: &Schedule, batch: &Batch) -> f32 {
        let options = PassOptions {
            two_pass: false,
            keep: BackwardMode::StoreGraph,
            error_space: ErrorSpace::Prediction,
        };
        let forward =
            Forward::run(&self.policy, Some(&self.reference), schedule, batch, options).expect("forward");
        let loss = objective(spec, schedule, &forward, batch).expect("a loss").loss;
        let mut gradients = Gradients::default();
        forward.backward(&loss, &self.variables, &mut gradients).expect("backward");
        self.optimiser.update(&self.variables, &gradients, 1, 1e-4).expect("an update");
        loss.to_scalar().expect("a number")
    }
}

/// Four steps on shards, and four steps that encode the images and captions first, have the same losses.
#[test]
fn training_on_shards_equals_training_on_images() {
    let scratch = tempfile::tempdir().expect("a folder");
    let source = scratch.path().join("set");
    let data = folder_set(&source, 11);
    let folders = PartFolders::new(&bundled(), None);
    let out = scratch.path().join("out");
    let manifest = prepare(&out, &data, &folders).expect("encodes");
    let set = EncodedSet::open(&out, &manifest).expect("opens");
    let spec: TrainSpec = toml::from_str(&format!(
        "name = 'both'\nbase = 'shapes'\nsteps = 4\nbatch_size = 3\nseed = 5\ncaption_dropout = 0.0\n\
         objective = {{ kind = 'diff_contrast', beta = 20.0, tau = 0.5 }}\nlearning_rate = {{ rate = 1e-4 }}\n\
         data = {{ source = 'prepared', folder = '{}' }}",
        out.display()
    ))
    .expect("a spec");

    let schedule = folders.schedule().expect("a schedule");
    let (vae, _) = Autoencoder::load(&bundled().join("vae"), &Device::Cpu, false).expect("a VAE");
    let (text, _) = TextTower::load(&bundled().join("text_encoder"), &Device::Cpu).expect("a text tower");
    let tokenizer = Tokenizer::load(&bundled().join("tokenizer")).expect("a tokenizer");
    let clip = Clip::load(&bundled().join("clip"), &Device::Cpu).expect("CLIP");
    let mut batches = Batches::new(&set, &spec, &schedule, vae.config(), &Device::Cpu).expect("batches");
    let (mut from_shards, mut from_images) = (Trainer::new(&folders), Trainer::new(&folders));
    for number in 0..4 {
        let dealt = batches.get(number).expect("a batch");
        // Row 3 of the set is damaged and is no example.
        let seeds = dealt.examples.iter().map(|&row| u64::from(row) + u64::from(row >= 3));
        let pairs: Vec<_> = seeds.map(shapes::quality::quality_pair).collect();
        // The random numbers of micro-batch `number`, in order: caption dropout, timesteps, posteriors, noise.
        let mut noise = Noise::stream(spec.seed, (2 << 60) + number);
        for _ in &pairs {
            noise.uniform();
        }
        let timesteps = pairs.iter().map(|_| noise.below(schedule.timesteps())).collect();
        let sides = [0, 1].map(|side| {
            let images: Vec<RgbImage> =
                pairs.iter().map(|pair| [&pair.winner, &pair.loser][side].to_image()).collect();
            let posterior =
                vae.encode(&images_to_tensor(&images, &Device::Cpu).expect("a tensor")).expect("encodes");
            let draw = noise.normal_tensor(posterior.mean.shape().clone(), &Device::Cpu).expect("noise");
            let deviation = (posterior.log_variance * 0.5).and_then(|half| half.exp()).expect("a tensor");
            let latents = (posterior.mean + (deviation * draw).expect("a tensor")).expect("a tensor");
            let latents = (latents * vae.config().scaling_factor).expect("a tensor");
            (latents, clip.image_features(&images).expect("features"))
        });
        let [(winner, winner_features), (loser, loser_features)] = sides;
        let captions: Vec<&str> = pairs.iter().map(|pair| pair.caption.as_str()).collect();
        let ids: Vec<_> = captions.iter().map(|caption| tokenizer.encode(caption).expect("ids")).collect();
        let caption_features = clip.text_features(&captions).expect("features");
        let encoded = Batch {
            lists: Vec::new(),
            noise: noise.normal_tensor(winner.shape().clone(), &Device::Cpu).expect("noise"),
            winner,
            loser: Some(loser),
            timesteps,
            conditioning: vec![Conditioning { text: text.forward(&ids).expect("states"), added: None }; 2],
            examples: dealt.examples.clone(),
            clip: Some(ClipFeatures {
                winner: winner_features,
                loser: loser_features,
                text: caption_features,
            }),
        };
        assert_eq!(encoded.timesteps, dealt.timesteps);
        let ours = from_shards.step(&spec.objective, &schedule, &dealt);
        let theirs = from_images.step(&spec.objective, &schedule, &encoded);
        assert!((ours - theirs).abs() <= 1e-5, "step {number}: {ours} from shards, {theirs} from images");
        assert!(
            (ours - std::f32::consts::LN_2).abs() > 1e-3,
            "step {number}: {ours} is the loss of equal networks"
        );
    }
}

/// Mirrored images are an additional part. Another crop changes the latents and not the text.
#[test]
fn image_settings_encode_only_the_parts_that_depend_on_them() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folders = PartFolders::new(&bundled(), None);
    let data: DataSpec = toml::from_str("source = 'shapes'\nset = 'winter'\ncount = 6").expect("a spec");
    let out = scratch.path().join("out");
    let of = |image: &str| -> ImageSpec { toml::from_str(image).expect("a spec") };
    let make = |image: &ImageSpec| {
        let plan = Plan::new(&data, image, None, 4, false, &folders).expect("a plan");
        let name = plan.cache_name();
        (plan.carry_out(&out, &folders, &Device::Cpu, &mut |_, _| Ok(())).expect("encodes"), name)
    };
    let (plain, plain_name) = make(&of(""));
    let before = written(&out);
    let (mirrored, mirrored_name) = make(&of("mirrored = true"));
    assert_eq!(plain_name, mirrored_name, "runs with and without mirrored images share a folder");
    assert_eq!(mirrored.parts["latents"], plain.parts["latents"]);
    let after = written(&out);
    let new: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert_eq!(new, ["mirrored-00000.safetensors", "mirrored-00001.safetensors"]);
    for (name, time) in &before {
        assert_eq!(after[name] != *time, name == "manifest.json", "{name}");
    }

    // A prepared set is opened with the image settings that it has, and refused with others.
    let prepared: DataSpec =
        toml::from_str(&format!("source = 'prepared'\nfolder = '{}'", out.display())).expect("a spec");
    let open = |image: &str| {
        let cache = scratch.path().join("cache");
        let image = of(image);
        EncodedSet::prepare(&prepared, &image, &folders, false, &cache, &Device::Cpu, &mut |_, _| Ok(()))
    };
    open("").expect("opens");
    open("mirrored = true").expect("opens");
    let refused = |image: &str, remedy: &str| {
        let problem = format!("{:#}", open(image).expect_err("another"));
        assert!(problem.contains("data.folder") && problem.contains(remedy), "{problem}");
    };
    refused("crop = 'random'", "image.crop = \"random\"");

    let (random, _) = make(&of("crop = 'random'"));
    let last = written(&out);
    for (name, time) in &after {
        let is_new = name.starts_with("latents-") || name == "manifest.json";
        assert_eq!(last[name] != *time, is_new, "{name}");
    }
    assert_eq!(random.parts["text"], plain.parts["text"]);
    refused("crop = 'random'\nmirrored = true", "image.mirrored = true");
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
    let output = process.wait_with_output().expect("an exit status");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn contents(out: &Path) -> BTreeMap<String, Vec<u8>> {
    written(out)
        .into_keys()
        .map(|name| (name.clone(), std::fs::read(out.join(name)).expect("a file")))
        .collect()
}

/// Kills the process `KILLS` times, 4 by default, then lets it finish.
#[test]
fn a_killed_encoding_gives_the_bytes_of_an_uninterrupted_one() {
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
    let start_time = Instant::now();
    finish(start(&config("whole")));
    let whole = start_time.elapsed();
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
        died += u32::from(!process.wait().expect("an exit status").success());
    }
    assert!(died > 0, "every process finished before it was killed");
    finish(start(&config("parts")));
    let (whole, parts) = (contents(&out("whole")), contents(&out("parts")));
    assert_eq!(whole.keys().collect::<Vec<_>>(), parts.keys().collect::<Vec<_>>());
    for (name, bytes) in &whole {
        assert!(parts[name] == *bytes, "{name} differs");
    }
}
