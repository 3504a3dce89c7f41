//! Trains the text tower: every state predicts its token, every feature the attributes that the caption states.

use super::optimiser::{BATCH, WARMUP_STEPS, optimiser, trained_variables};
use super::readouts::{Attributes, Readouts, attributes};
use crate::cross_entropy::of_classes;
use crate::held_out;
use crate::learning_rate::learning_rate;
use anyhow::Result;
use candle_core::Device;
use diffusion::noise::Noise;
use diffusion::tokenizer::Tokenizer;
use diffusion::weights::{Parameters, Variables};
use evaluation::clip::Towers;
use process::progress::Progress;
use shapes::world::{Kind, Scene, Split, scene};
use training::optim::Gradients;

/// Learning rate after warm-up.
const LEARNING_RATE: f64 = 7e-4;

pub(super) fn train_text_tower(
    towers: &Towers,
    variables: &Variables,
    tokenizer: &Tokenizer,
    steps: u32,
    seed: u64,
) -> Result<()> {
    let parameters = Parameters::random(seed + 1, &Device::Cpu);
    let readouts = Readouts::new(&parameters)?;
    let trained = trained_variables(variables, |name| name.starts_with("text_"), parameters.finish()?);
    let mut optimiser = optimiser(&trained)?;
    let mut noise = Noise::stream(seed, 1);
    let mut progress = Progress::new("text tower", u64::from(steps));
    for step in 0..steps {
        let scenes: Vec<Scene> = (0..BATCH)
            .map(|i| {
                let kind = if i % 4 == 0 { Kind::Mixed } else { Kind::Single };
                scene(noise.below(held_out::CLIP as usize) as u64, Split::Train, kind)
            })
            .collect();
        let captions: Vec<String> = scenes.iter().map(Scene::caption).collect();
        let ids = captions.iter().map(|c| tokenizer.encode(c)).collect::<diffusion::Result<Vec<_>>>()?;
        let stated: Vec<Attributes> = scenes.iter().zip(&captions).map(|(s, c)| attributes(s, c)).collect();
        let (states, features) = towers.text_features(&ids)?;
        let words: Vec<Option<u32>> = ids.concat().into_iter().map(Some).collect();
        let attribute_loss = readouts.attribute_loss(&features, &stated)?;
        let word_loss = of_classes(&readouts.words.forward(&states.flatten(0, 1)?)?, &words)?;
        let loss = (&attribute_loss + word_loss)?;
        let mut gradients = Gradients::default();
        gradients.add(&loss.backward()?, &trained)?;
        optimiser.update(&trained, &gradients, 1, learning_rate(LEARNING_RATE, WARMUP_STEPS, step, steps))?;
        progress.step(&[("loss", f64::from(loss.to_scalar::<f32>()?))], BATCH as f64);
    }
    progress.note("text tower trained");
    progress.finish();
    Ok(())
}
