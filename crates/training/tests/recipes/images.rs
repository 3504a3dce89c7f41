//! Images in training: mirroring, cropping, and the micro-conditioning of SDXL.

use crate::world::{World, numbers};
use candle_core::Device;
use diffusion::part_folders::PartFolders;
use diffusion::vae::Autoencoder;
use domain::train::TrainSpec;
use image::{RgbImage, imageops};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use training::data::images::images_to_tensor;
use training::data::tensor_name::{Side, TensorName};

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder)
}

fn world(folders: PartFolders, data: &str, more: &str) -> World {
    let text = format!(
        "name = 'images'\nbase = 'any'\nsteps = 1\nbatch_size = 3\n{more}\ndata = {data}\n\
         objective = {{ kind = 'diffusion_dpo', beta = 500.0 }}\nlearning_rate = {{ rate = 1e-4 }}"
    );
    World::new(folders, &text, false)
}

fn bundled(more: &str) -> World {
    let data = "{ source = 'shapes', set = 'quality', count = 24 }";
    world(PartFolders::new(&root("models/shapes"), None), data, more)
}

fn sdxl(images: &Path, more: &str) -> World {
    let folders =
        PartFolders::new(&root("crates/diffusion/tests/fixtures/sdxl"), Some(&root("models/shapes")));
    world(folders, &format!("{{ source = 'folder', folder = '{}' }}", images.display()), more)
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[test]
fn mirrored_posteriors_are_those_of_the_mirrored_image() {
    let world = bundled("horizontal_flip = 'per_pair'");
    let (vae, _) =
        Autoencoder::load(&world.folders.part("vae").expect("a VAE"), &Device::Cpu, false).expect("a VAE");
    for row in [0u32, 7, 23] {
        let pair = shapes::set::entry(shapes::set::Set::Quality, 0, u64::from(row));
        let loser = pair.loser.as_ref().expect("a loser");
        for (side, image) in [(Side::Winner, &pair.winner), (Side::Loser, loser)] {
            let plain: RgbImage = image.to_image();
            let turned = imageops::flip_horizontal(&plain);
            assert_ne!(plain, turned);
            for (mirrored, image) in [(false, plain), (true, turned)] {
                let image = images_to_tensor(&[image], &Device::Cpu).expect("a tensor");
                let expected = vae.encode(&image).expect("encodes");
                let found = world.set.posteriors(side, &[row], &[mirrored]).expect("rows");
                for (found, expected) in found.iter().zip([&expected.mean, &expected.log_variance]) {
                    assert_eq!(found.dims(), expected.dims());
                    for (a, b) in numbers(found).iter().zip(numbers(expected)) {
                        assert!(
                            (a - b).abs() <= 1e-5 * b.abs().max(1.0),
                            "{side:?} {row} {mirrored}: {a} {b}"
                        );
                    }
                }
            }
        }
    }
}

/// The examples of some micro-batches: number, caption, and whether winner and loser are mirrored. A side is mirrored
/// if its latents are nearer to the mean of the mirrored image's posterior.
fn dealt(world: &World, batches: u64) -> Vec<(u32, String, [bool; 2])> {
    let mut found = Vec::new();
    for number in 0..batches {
        let batch = world.batches().get(number).expect("a batch");
        let captions = world.set.caption_texts(&batch.examples).expect("captions");
        let sides = [(Side::Winner, &batch.winner), (Side::Loser, batch.loser.as_ref().expect("losers"))];
        for (i, (&example, caption)) in batch.examples.iter().zip(captions).enumerate() {
            let mirrored = sides.map(|(side, latents)| {
                let latents = (latents.get(i).expect("a row") / world.vae.scaling_factor).expect("unscaled");
                let off = |mirrored| {
                    let [mean, _] = world.set.posteriors(side, &[example], &[mirrored]).expect("rows");
                    distance(&numbers(&latents), &numbers(&mean))
                };
                off(true) < off(false)
            });
            found.push((example, caption, mirrored));
        }
    }
    found
}

/// Three epochs of 24 pairs.
#[test]
fn pairs_are_mirrored_together_or_each_image_independently() {
    let names_a_side = |caption: &str| caption.contains("left of") || caption.contains("right of");
    let together = dealt(&bundled("horizontal_flip = 'per_pair'"), 24);
    assert!(together.iter().any(|(_, caption, _)| names_a_side(caption)), "no caption names a side");
    assert!(together.iter().all(|(_, _, [winner, loser])| winner == loser));
    let free = |found: &[(u32, String, [bool; 2])]| -> Vec<(u32, [bool; 2])> {
        found.iter().filter(|(_, c, _)| !names_a_side(c)).map(|(i, _, m)| (*i, *m)).collect()
    };
    let mirrored = free(&together).iter().filter(|(_, [winner, _])| *winner).count() as f64;
    let share = mirrored / free(&together).len() as f64;
    assert!((0.3..0.7).contains(&share), "a share of {share} is mirrored");
    let changed = free(&together)
        .iter()
        .any(|(i, mirrored)| free(&together).iter().any(|(j, other)| i == j && mirrored != other));
    assert!(changed, "all epochs draw the same");

    let independent = dealt(&bundled("horizontal_flip = 'per_image'"), 24);
    for mirrored in [[false, false], [false, true], [true, false], [true, true]] {
        assert!(independent.iter().any(|(_, _, m)| *m == mirrored), "{mirrored:?} is never drawn");
    }
    for (_, caption, mirrored) in together.iter().chain(&independent) {
        assert!(!names_a_side(caption) || *mirrored == [false, false], "{caption}");
    }
    let mean = TensorName::Mean { side: Side::Winner, mirrored: true };
    assert!(!bundled("").set.has(mean), "mirrored images were encoded without need");
}

/// Pairs whose winners are 100 x 133 (width x height) and whose losers are 67 x 64.
fn odd_images(captions: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut list = String::new();
    for (i, caption) in captions.iter().enumerate() {
        for (side, width, height) in [("w", 100, 133), ("l", 67, 64)] {
            let noise = |x: u32, y: u32| image::Rgb([(x * 2) as u8, y as u8, (x * y) as u8]);
            let image = RgbImage::from_fn(width, height, noise);
            image.save(folder.path().join(format!("{i}{side}.png"))).expect("written");
        }
        let line = serde_json::json!({ "prompt": caption, "winner": format!("{i}w.png"), "loser": format!("{i}l.png") });
        list += &format!("{line}\n");
    }
    std::fs::write(folder.path().join("pairs.jsonl"), list).expect("written");
    folder
}

/// Time ids of winners and of losers, six per example.
fn time_ids(world: &World) -> [Vec<f32>; 2] {
    let batch = world.batches().get(0).expect("a batch");
    let of = |side: usize| numbers(&batch.conditioning[side].added.as_ref().expect("added").time_ids);
    [of(0), of(1)]
}

/// Worked by hand for 64 x 64. 100 x 133 is resized to 64 x int(85.12) = 85, with round(10.5) = 10 rows (half to even,
/// as in Python) above the crop. 67 x 64 is not resized: round(1.5) = 2 columns are left of the crop, and 3 - 2 = 1 if
/// mirrored.
#[test]
fn time_ids_are_the_original_size_and_crop_of_each_image() {
    let images = odd_images(&["a", "b", "c"]);
    let [winners, losers] = time_ids(&sdxl(images.path(), ""));
    assert_eq!(winners, [133.0, 100.0, 10.0, 0.0, 64.0, 64.0].repeat(3));
    assert_eq!(losers, [64.0, 67.0, 0.0, 2.0, 64.0, 64.0].repeat(3));

    let whole = time_ids(&sdxl(images.path(), "micro_conditioning = 'whole'"));
    assert_eq!(whole, [[64.0, 64.0, 0.0, 0.0, 64.0, 64.0].repeat(3), whole[0].clone()]);

    let mut lefts = Vec::new();
    for seed in 0..4 {
        let more = format!("horizontal_flip = 'per_pair'\nseed = {seed}");
        let [winners, losers] = time_ids(&sdxl(images.path(), &more));
        assert_eq!(winners, [133.0, 100.0, 10.0, 0.0, 64.0, 64.0].repeat(3));
        lefts.extend(losers.chunks_exact(6).map(|ids| ids[3]));
    }
    assert!(lefts.contains(&1.0) && lefts.contains(&2.0) && lefts.iter().all(|l| [1.0, 2.0].contains(l)));

    let [winners, losers] = time_ids(&sdxl(images.path(), "crop = 'random'"));
    for ids in winners.chunks_exact(6) {
        assert!((0.0..=21.0).contains(&ids[2]) && ids[3] == 0.0, "{ids:?}");
    }
    assert!(winners.chunks_exact(6).any(|ids| ids[2] != winners[2]), "all rows have the same crop");
    assert!(losers.chunks_exact(6).all(|ids| ids[2] == 0.0 && (0.0..=3.0).contains(&ids[3])));
}

#[test]
fn images_whose_caption_names_a_side_are_not_mirrored() {
    let captions = ["the LEFT bank", "a cat, right.", "leftovers and brightness"];
    let images = odd_images(&captions);
    let world = sdxl(images.path(), "horizontal_flip = 'per_image'");
    assert_eq!(world.set.may_be_mirrored(&[0, 1, 2]).expect("rows"), [false, false, true]);
}

#[test]
fn an_unknown_value_is_refused_with_the_known_ones() {
    let text = |more: &str| {
        format!(
            "name = 'a'\nbase = 'b'\nsteps = 1\nbatch_size = 1\n{more}\nobjective = {{ kind = 'sft' }}\n\
             data = {{ source = 'shapes', set = 'winter', count = 2 }}\nlearning_rate = {{ rate = 1e-4 }}"
        )
    };
    for (field, choices) in [
        ("horizontal_flip", ["off", "per_pair", "per_image"].as_slice()),
        ("crop", &["centre", "random"]),
        ("micro_conditioning", &["image", "whole"]),
    ] {
        let refused = toml::from_str::<TrainSpec>(&text(&format!("{field} = 'sideways'")));
        let problem = refused.expect_err("an unknown value").to_string();
        assert!(problem.contains(field) && problem.contains("sideways"), "{problem}");
        for choice in choices {
            assert!(problem.contains(choice), "{problem}");
            toml::from_str::<TrainSpec>(&text(&format!("{field} = '{choice}'"))).expect("a known value");
        }
    }
}
