//! Comparison of every reward model with its reference implementation, on small files in the published formats,
//! including the preparation of images and prompts (`oracles/rewards.py`).

use super::{Reward, RewardFiles, RewardKind};
use crate::cache::CachedReward;
use crate::preprocess::PillowImage;
use candle_core::{Device, Tensor};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The files of a reward model.
fn files(kind: RewardKind) -> RewardFiles {
    let folder = fixtures().join("rewards");
    let bpe = fixtures().join("texts/bpe.txt.gz");
    let (weights, vocabulary) = match kind {
        RewardKind::HpsV20 | RewardKind::HpsV21 => ("HPS_v2_compressed.pt", Some(bpe)),
        RewardKind::ClipScoreH14 => ("open_clip_model.safetensors", Some(folder.join("vocabulary"))),
        RewardKind::PickScore => ("pick_score.safetensors", Some(folder.join("vocabulary"))),
        RewardKind::ClipScoreL14 => ("openai_vit_l_14.bin", Some(bpe)),
        RewardKind::Aesthetic => ("sac+logos+ava1-l14-linearMSE.pth", None),
        RewardKind::ImageReward => ("ImageReward.pt", Some(fixtures().join("texts/vocab.txt"))),
    };
    let backbone = (kind == RewardKind::Aesthetic).then(|| folder.join("openai_vit_l_14.bin"));
    RewardFiles { weights: folder.join(weights), vocabulary, backbone }
}

fn open(kind: RewardKind) -> Reward {
    Reward::open(kind, &files(kind), &Device::Cpu).expect("a score")
}

fn images_and_prompts() -> (Vec<PillowImage>, Vec<String>) {
    let text = std::fs::read_to_string(fixtures().join("rewards/expected.json")).expect("a fixture");
    let asked: Value = serde_json::from_str(&text).expect("a fixture");
    let strings = |field: &str| -> Vec<String> {
        let values = asked[field].as_array().expect(field);
        values.iter().map(|v| v.as_str().expect(field).to_owned()).collect()
    };
    let read = |name: &String| {
        let file = fixtures().join("preprocess").join(name);
        PillowImage::decode(&std::fs::read(&file).expect("an image"), &file).expect(name)
    };
    (strings("pictures").iter().map(read).collect(), strings("prompts"))
}

fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixtures().join("rewards/expected.safetensors"), &Device::Cpu)
        .expect("a fixture")
}

/// The fixture's name: both versions of HPSv2 are one network.
fn name(kind: RewardKind) -> &'static str {
    match kind {
        RewardKind::HpsV20 | RewardKind::HpsV21 => "hps",
        kind => kind.as_str(),
    }
}

fn assert_near(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    eprintln!("{what}: off by {worst:.1e}");
    assert!(worst <= tolerance, "{what} is off by {worst:e}:\n  ours   {ours:?}\n  theirs {theirs:?}");
}

#[test]
fn features_and_scores_equal_those_of_the_reference_implementations() {
    let (images, prompts) = images_and_prompts();
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let expected = expected();
    for kind in RewardKind::ALL {
        let reward = open(kind);
        let features = reward.features(&images, &prompts).expect("a score");
        let theirs: Vec<Vec<f32>> =
            expected[&format!("{}.features", name(kind))].to_vec2().expect("features");
        assert_eq!(features.len(), theirs.len());
        for (i, (ours, theirs)) in features.iter().zip(&theirs).enumerate() {
            assert_near(&format!("{} features {i}", kind.as_str()), ours, theirs, 1e-4);
        }
        let theirs: Vec<f32> = expected[&format!("{}.scores", name(kind))].to_vec1().expect("scores");
        // The tolerance of scores that are 100 times a cosine is 100 times as large.
        let scale = if kind.statement().contains("100 x") { 100.0 } else { 1.0 };
        let ours = reward.scores(&images, &prompts).expect("a score");
        assert_near(&format!("{} scores", kind.as_str()), &ours, &theirs, 1e-4 * scale);
    }
}

/// torchvision before and since 0.17 gives different tensors and so different scores, which a cache must keep apart.
#[test]
fn antialiasing_can_be_chosen_for_models_that_resize_tensors() {
    let (images, prompts) = images_and_prompts();
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().expect("a folder");
    for kind in RewardKind::ALL {
        let smooth = open(kind).with_antialias();
        let tensors = matches!(kind, RewardKind::HpsV20 | RewardKind::HpsV21 | RewardKind::ClipScoreH14);
        if !tensors {
            let refusal = smooth.expect_err("Pillow always antialiases").to_string();
            assert!(refusal.contains("antialias") && refusal.contains(kind.as_str()), "{refusal}");
            assert!(!open(kind).statement().contains("antialias"));
            continue;
        }
        let smooth = smooth.expect("a score");
        assert!(smooth.statement().contains("with antialiasing"), "{}", smooth.statement());
        assert!(open(kind).statement().contains("without antialiasing"));
        let mut rough = CachedReward::open(folder.path(), open(kind)).expect("a cache");
        let rough = rough.scores(&images, &prompts).expect("scores");
        let mut smooth = CachedReward::open(folder.path(), smooth).expect("a cache");
        assert_eq!(smooth.known(), 0, "scores without antialiasing do not count");
        assert_ne!(smooth.scores(&images, &prompts).expect("scores"), rough, "{}", kind.as_str());
    }
}

/// The batch changes scores by rounding only.
#[test]
fn scores_do_not_depend_on_the_batch() {
    let (images, prompts) = images_and_prompts();
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    for kind in RewardKind::ALL {
        let together = open(kind).scores(&images, &prompts).expect("a score");
        let reward = open(kind).with_batch(2);
        assert_near(kind.as_str(), &reward.scores(&images, &prompts).expect("a score"), &together, 1e-4);
        assert!(reward.scores::<PillowImage>(&[], &[]).expect("nothing").is_empty());
    }
}

#[test]
fn a_cache_survives_a_kill_and_keeps_scores_apart() {
    let (images, prompts) = images_and_prompts();
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let computed = open(RewardKind::HpsV21).scores(&images, &prompts).expect("scores");
    let cached = |kind| CachedReward::open(folder.path(), open(kind)).expect("a cache");
    let mut hps = cached(RewardKind::HpsV21);
    assert_eq!(hps.known(), 0);
    let first = hps.scores(&images[..3], &prompts[..3]).expect("scores");
    assert_near("the first", &first, &computed[..3], 1e-4);
    assert_near("all", &hps.scores(&images, &prompts).expect("scores"), &computed, 1e-4);
    assert_eq!(hps.known(), images.len());
    drop(hps);

    // A half-written line of a killed process is ignored and damages no other line.
    let entry = std::fs::read_dir(folder.path()).expect("a folder").next().expect("a file").expect("a file");
    let text = std::fs::read_to_string(entry.path()).expect("lines");
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(entry.path(), format!("{}\n{}\n{}", lines[0], lines[1], &lines[2][..70])).expect("a file");
    let mut hps = cached(RewardKind::HpsV21);
    assert_eq!(hps.known(), 2);
    assert_near("after a kill", &hps.scores(&images[..3], &prompts[..3]).expect("scores"), &first, 1e-4);
    drop(hps);
    let mut hps = cached(RewardKind::HpsV21);
    assert_eq!(hps.known(), 3);

    // The same image and prompt have the same bits; another prompt, image or model has another score.
    let twice = hps.scores(&[&images[0], &images[0]], &[prompts[0]; 2]).expect("scores");
    assert_eq!(twice, [first[0]; 2]);
    assert_ne!(hps.scores(&images[..1], &["other"]).expect("a score"), first[..1]);
    assert_ne!(hps.scores(&images[1..2], &prompts[..1]).expect("a score"), first[..1]);
    assert_eq!(cached(RewardKind::ClipScoreH14).known(), 0);
    // The aesthetic predictor ignores prompts, and so does its cache.
    let mut aesthetic = cached(RewardKind::Aesthetic);
    aesthetic.scores(&[&images[0], &images[0]], &["a", "b"]).expect("scores");
    assert_eq!(aesthetic.known(), 1);
    assert!(aesthetic.scores(&images[..1], &["a", "b"]).is_err());
}

#[test]
fn names_are_parsed_and_different_weights_have_different_digests() {
    let mut hashes = Vec::new();
    for kind in RewardKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
        hashes.push(open(kind).sha256().to_owned());
    }
    hashes.sort();
    hashes.dedup();
    // Both versions of HPSv2 are the same file here.
    assert_eq!(hashes.len(), RewardKind::ALL.len() - 1);
    assert!(hashes.iter().all(|hash| hash.len() % 64 == 0));
    assert!("hps".parse::<RewardKind>().unwrap_err().contains("hps_v2_1"));
}

#[test]
fn wrong_files_are_refused_with_the_names_of_file_and_tensor() {
    let (images, _) = images_and_prompts();
    let reward = open(RewardKind::ImageReward);
    let message = reward.scores(&images, &["one"]).unwrap_err().to_string();
    assert!(message.contains("1 prompts for 7 images"), "{message}");

    let refused = |kind: RewardKind, change: &dyn Fn(&mut RewardFiles)| {
        let mut files = files(kind);
        change(&mut files);
        Reward::open(kind, &files, &Device::Cpu).expect_err("a mistake").to_string()
    };
    let at = |name: &str| fixtures().join(name);
    for (message, parts) in [
        (refused(RewardKind::HpsV21, &|f| f.vocabulary = None), vec!["vocabulary", "bpe_simple_vocab_16e6"]),
        (refused(RewardKind::Aesthetic, &|f| f.backbone = None), vec!["backbone", "ViT-L/14"]),
        (
            refused(RewardKind::PickScore, &|f| f.vocabulary = Some(at("texts/bpe.txt.gz"))),
            vec!["bpe.txt.gz", "folder", "merges.txt"],
        ),
        (
            refused(RewardKind::HpsV21, &|f| f.weights = at("rewards/ImageReward.pt")),
            vec!["ImageReward.pt", "is not a CLIP", "visual.class_embedding"],
        ),
        (
            refused(RewardKind::ImageReward, &|f| f.weights = at("rewards/HPS_v2_compressed.pt")),
            vec!["HPS_v2_compressed.pt", "blip.visual_encoder.patch_embed.proj.weight", "is missing"],
        ),
        (
            refused(RewardKind::Aesthetic, &|f| f.weights = at("rewards/openai_vit_l_14.bin")),
            vec!["openai_vit_l_14.bin", "layers.0.weight", "is missing"],
        ),
        (refused(RewardKind::HpsV20, &|f| f.weights = at("texts")), vec!["texts", "open_clip_model"]),
        (refused(RewardKind::HpsV20, &|f| f.weights = at("nothing.pt")), vec!["nothing.pt"]),
    ] {
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

/// An error about an OpenCLIP file has OpenCLIP's name of the tensor, not that of our network.
#[test]
fn missing_and_misshapen_tensors_are_named_as_in_the_file() {
    let file = files(RewardKind::ClipScoreH14).weights;
    let whole = candle_core::safetensors::load(&file, &Device::Cpu).expect("a fixture");
    let folder = tempfile::tempdir().expect("a folder");
    let cases: [(&str, Option<&str>); 4] = [
        ("visual.transformer.resblocks.1.mlp.c_fc.bias", None),
        ("transformer.resblocks.0.attn.in_proj_bias", None),
        ("visual.proj", Some("visual.ln_pre.weight")),
        ("something.else", Some("logit_scale")),
    ];
    for (tensor, instead) in cases {
        let mut tensors = whole.clone();
        match instead {
            None => drop(tensors.remove(tensor)),
            Some(other) => drop(tensors.insert(tensor.to_owned(), whole[other].clone())),
        }
        let weights = folder.path().join("damaged.safetensors");
        candle_core::safetensors::save(&tensors, &weights).expect("a file");
        let kind = RewardKind::ClipScoreH14;
        let files = RewardFiles { weights, ..files(kind) };
        let message = Reward::open(kind, &files, &Device::Cpu).expect_err(tensor).to_string();
        assert!(message.contains("damaged.safetensors") && message.contains(tensor), "{message}");
    }
}
