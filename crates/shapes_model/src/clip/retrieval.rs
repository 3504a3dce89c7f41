//! Retrieval: how often the caption nearest to an image states its attributes correctly.

use crate::held_out;
use anyhow::Result;
use candle_core::{Device, Tensor};
use diffusion::tokenizer::Tokenizer;
use evaluation::clip::{Towers, normalised};
use shapes::Image;
use shapes::world::{Background, Colour, Kind, Scene, Shape, Size, Split, scene};
use training::data::images::to_tensor;

/// For 200 images of held-out scenes with one object: how often the nearest of all captions with one object is right,
/// as a sentence.
pub(super) fn retrieval(towers: &Towers, tokenizer: &Tokenizer) -> Result<String> {
    let device = Device::Cpu;
    let candidates = candidates();
    let article = |word: &str| if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    let captions = candidates.iter().map(|(shape, colour, size, background)| {
        format!("a {size} {colour} {shape} on {} {background} background", article(background.name()))
    });
    let ids = captions.map(|c| tokenizer.encode(&c)).collect::<diffusion::Result<Vec<_>>>()?;
    let texts = ids
        .chunks(256)
        .map(|ids| Ok(normalised(&towers.text_features(ids)?.1.detach())?))
        .collect::<Result<Vec<_>>>()?;
    let texts = Tensor::cat(&texts, 0)?;
    let scenes: Vec<Scene> =
        (0..200).map(|i| scene(held_out::CLIP + i, Split::HeldOut, Kind::Single)).collect();
    let images: Vec<Image> = scenes.iter().map(Scene::paint).collect();
    let features = normalised(&towers.image_features(&to_tensor(images.iter(), &device)?)?.detach())?;
    let nearest = features.matmul(&texts.t()?)?.argmax(1)?.to_vec1::<u32>()?;
    let mut correct = [0usize; 5];
    for (scene, &i) in scenes.iter().zip(&nearest) {
        let (shape, colour, size, background) = candidates[i as usize];
        let object = &scene.objects[0];
        let checks = [
            shape == object.shape,
            colour == object.colour,
            Some(size) == object.size,
            background == scene.background,
        ];
        correct[0] += usize::from(checks.iter().all(|&c| c));
        for (count, check) in correct[1..].iter_mut().zip(checks) {
            *count += usize::from(check);
        }
    }
    let share = |n: usize| n as f64 / scenes.len() as f64 * 100.0;
    Ok(format!(
        "nearest of {} captions correct on held-out images: all {:.1}%, shape {:.1}%, colour {:.1}%, size {:.1}%, background {:.1}%",
        candidates.len(),
        share(correct[0]),
        share(correct[1]),
        share(correct[2]),
        share(correct[3]),
        share(correct[4])
    ))
}

/// Every combination of attributes that the world can show.
fn candidates() -> Vec<(Shape, Colour, Size, Background)> {
    let mut candidates = Vec::new();
    for &shape in Shape::ALL {
        for &colour in Colour::ALL {
            for &size in Size::ALL {
                for &background in Background::ALL {
                    if shapes::world::allowed(colour, background) {
                        candidates.push((shape, colour, size, background));
                    }
                }
            }
        }
    }
    candidates
}
