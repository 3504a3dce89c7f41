//! Every reward model against its reference implementation, from small files in the published formats, preparation of
//! images and texts included (`oracles/rewards.py`).

use candle_core::{Device, Tensor};
use evaluation::cache::CachedReward;
use evaluation::preprocess::Image;
use evaluation::rewards::{Reward, RewardFiles, RewardKind};
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

/// Images and prompts.
fn asked() -> (Vec<Image>, Vec<String>) {
    let text = std::fs::read_to_string(fixtures().join("rewards/expected.json")).expect("a fixture");
    let asked: Value = serde_json::from_str(&text).expect("a fixture");
    let strings = |field: &str| -> Vec<String> {
        let values = asked[field].as_array().expect(field);
        values.iter().map(|v| v.as_str().expect(field).to_owned()).collect()
    };
    let read = |name: &String| {
        let file = fixtures().join("preprocess").join(name);
        Image::decode(&std::fs::read(&file).expect("an image"), &file).expect(name)
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
fn features_and_scores_are_the_reference_implementations() {
    let (images, prompts) = asked();
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
        // Those that are a hundredfold are as far off as a hundred cosines.
        let scale = if kind.statement().contains("100 x") { 100.0 } else { 1.0 };
        let ours = reward.scores(&images, &prompts).expect("a score");
        assert_near(&format!("{} scores", kind.as_str()), &ours, &theirs, 1e-4 * scale);
    }
}

/// torchvision before and after 0.17 gives other tensors, so other scores, which a cache must tell apart.
#[test]
fn antialiasing_is_a_choice_of_those_who_resize_tensors() {
    let (images, prompts) = asked();
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
        assert!(smooth.is_empty(), "the other way's scores are not its own");
        assert_ne!(smooth.scores(&images, &prompts).expect("scores"), rough, "{}", kind.as_str());
    }
}

/// How many go through together, and in which company, changes nothing but the last bits.
#[test]
fn batches_do_not_change_scores() {
    let (images, prompts) = asked();
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    for kind in RewardKind::ALL {
        let together = open(kind).scores(&images, &prompts).expect("a score");
        let reward = open(kind).with_batch(2);
        assert_near(kind.as_str(), &reward.scores(&images, &prompts).expect("a score"), &together, 1e-4);
        assert!(reward.scores::<Image>(&[], &[]).expect("nothing").is_empty());
    }
}

#[test]
fn a_cache_survives_a_kill_and_tells_scores_apart() {
    let (images, prompts) = asked();
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let computed = open(RewardKind::HpsV21).scores(&images, &prompts).expect("scores");
    let cached = |kind| CachedReward::open(folder.path(), open(kind)).expect("a cache");
    let mut hps = cached(RewardKind::HpsV21);
    assert!(hps.is_empty());
    let first = hps.scores(&images[..3], &prompts[..3]).expect("scores");
    assert_near("the first", &first, &computed[..3], 1e-4);
    assert_near("all", &hps.scores(&images, &prompts).expect("scores"), &computed, 1e-4);
    assert_eq!(hps.len(), images.len());
    drop(hps);

    // What a killed process left half written is no score, and spoils none.
    let entry = std::fs::read_dir(folder.path()).expect("a folder").next().expect("a file").expect("a file");
    let text = std::fs::read_to_string(entry.path()).expect("lines");
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(entry.path(), format!("{}\n{}\n{}", lines[0], lines[1], &lines[2][..70])).expect("a file");
    let mut hps = cached(RewardKind::HpsV21);
    assert_eq!(hps.len(), 2);
    assert_near("after a kill", &hps.scores(&images[..3], &prompts[..3]).expect("scores"), &first, 1e-4);
    drop(hps);
    let mut hps = cached(RewardKind::HpsV21);
    assert_eq!(hps.len(), 3);

    // The same bits again; another prompt, another image, another model: another score.
    let twice = hps.scores(&[&images[0], &images[0]], &[prompts[0]; 2]).expect("scores");
    assert_eq!(twice, [first[0]; 2]);
    assert_ne!(hps.scores(&images[..1], &["other"]).expect("a score"), first[..1]);
    assert_ne!(hps.scores(&images[1..2], &prompts[..1]).expect("a score"), first[..1]);
    assert!(cached(RewardKind::ClipScoreH14).is_empty());
    // The aesthetic predictor does not look at prompts, and neither does its cache.
    let mut aesthetic = cached(RewardKind::Aesthetic);
    aesthetic.scores(&[&images[0], &images[0]], &["a", "b"]).expect("scores");
    assert_eq!(aesthetic.len(), 1);
    assert!(aesthetic.scores(&images[..1], &["a", "b"]).is_err());
}

#[test]
fn the_logit_scale_is_the_files() {
    let scale = open(RewardKind::PickScore).logit_scale().expect("a number").expect("PickScore has one");
    // ln 90, in f16.
    assert!((scale - 90.0).abs() < 0.1, "{scale}");
    assert_eq!(open(RewardKind::Aesthetic).logit_scale().expect("a number"), None);
}

#[test]
fn names_lead_back_and_weights_are_told_apart() {
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
fn what_does_not_fit_is_named_as_the_file_has_it() {
    let (images, _) = asked();
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
            vec!["ImageReward.pt", "is no CLIP", "visual.class_embedding"],
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

/// A damaged OpenCLIP file: the tensor is named as OpenCLIP does, not as our network.
#[test]
fn a_missing_or_misshapen_tensor_is_named() {
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
