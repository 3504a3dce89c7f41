//! The example on the site's front page: W of one batch of the bundled world, with the model's own CLIP and tau's default.
//! After a change of what computes it:
//!
//!     GOLDEN=write cargo test -p training --test front_page

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use candle_core::Device;
use diffusion::part_folders::PartFolders;
use domain::train::Embedding;
use evaluation::clip::Clip;
use serde_json::{Value, json};
use shapes::set::{Entry, Set, entry};
use std::path::Path;
use training::objectives::{ClipFeatures, contrast_weights};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../frontend/src/pages/batch_weights.json");
const PAIRS: u64 = 6;
const SEED: u64 = 7;
const TAU: f64 = 0.1;

/// Captions, images and W of the batch.
fn example() -> Result<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes");
    let clip = Clip::load(&PartFolders::new(&root, None).part("clip")?, &Device::Cpu)?;
    let entries: Vec<Entry> = (0..PAIRS).map(|index| entry(Set::Quality, SEED, index)).collect();
    let captions: Vec<&str> = entries.iter().map(|entry| entry.caption.as_str()).collect();
    let winners: Vec<_> = entries.iter().map(|entry| &entry.winner).collect();
    let losers: Vec<_> = entries.iter().filter_map(|entry| entry.loser.as_ref()).collect();
    let features = |images: &[&shapes::Image]| {
        let images: Vec<_> = images.iter().map(|image| image.to_image()).collect();
        clip.image_features(&images)
    };
    let features = ClipFeatures {
        winner: features(&winners)?,
        loser: features(&losers)?,
        text: clip.text_features(&captions)?,
    };
    let weights: Vec<Vec<f32>> = contrast_weights(&features, Embedding::Concat, TAU)?.to_vec2()?;
    let weights: Vec<Vec<f64>> = weights
        .into_iter()
        .map(|row| row.into_iter().map(|weight| (f64::from(weight) * 1e4).round() / 1e4).collect())
        .collect();
    let address = |image: &&shapes::Image| {
        image.to_png().map(|bytes| format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
    };
    Ok(json!({
        "tau": TAU,
        "captions": captions,
        "winners": winners.iter().map(address).collect::<Result<Vec<_>, _>>()?,
        "losers": losers.iter().map(address).collect::<Result<Vec<_>, _>>()?,
        "weights": weights,
    }))
}

#[test]
fn the_front_page_shows_weights_that_the_objective_computes() {
    let computed = example().expect("the example");
    if std::env::var("GOLDEN").is_ok_and(|mode| mode == "write") {
        std::fs::write(FILE, format!("{computed:#}\n")).expect("the file");
    }
    let text = std::fs::read_to_string(FILE).expect("the file");
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    for key in ["tau", "captions", "winners", "losers"] {
        assert_eq!(shown[key], computed[key], "{key}");
    }
    let values =
        |value: &Value| -> Vec<Vec<f64>> { serde_json::from_value(value["weights"].clone()).expect("W") };
    let (shown, computed) = (values(&shown), values(&computed));
    assert_eq!(shown.len(), 6);
    for (shown, computed) in shown.iter().zip(&computed) {
        assert!((shown.iter().sum::<f64>() - 1.0).abs() < 1e-3, "a row of W sums to 1");
        for (shown, computed) in shown.iter().zip(computed) {
            assert!((shown - computed).abs() < 2e-3, "{shown} against {computed}");
        }
    }
}
