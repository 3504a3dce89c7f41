//! Encoding of a batch from image files, for a training step on a set that is not prepared.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use catalogue::images::png;
use datasets::decode::decode;
use diffusion::config::VaeConfig;
use diffusion::part_folders::PartFolders;
use domain::data::ShapesSet;
use domain::dataset::Source;
use domain::prepare::Crop;
use std::collections::BTreeMap;
use training::data::batch::Batch;
use training::data::encoder::Encoder;
use training::data::encoding::Encoding;
use training::data::example::Example;
use training::data::frame::Frame;
use training::data::key::EncodedPart;
use training::data::sets::draw;
use training::data::tensor_name::{Side, TensorName};
use training::objectives::ClipFeatures;

/// A batch of pairs as PNG files, and the encoders that turn it into latents and features.
pub(crate) struct PairFiles<'a> {
    encoder: Encoder<'a>,
    scaling_factor: f64,
    /// Captions, each with the files of winner and loser.
    pairs: Vec<(String, [Vec<u8>; 2])>,
}

impl<'a> PairFiles<'a> {
    /// Pairs of the bundled world. Encoding scales them to the model's size.
    pub(crate) fn new(folders: &'a PartFolders, count: usize, device: &'a Device) -> Result<Self> {
        let (defaults, _) = folders.defaults()?;
        let frame = Frame { width: defaults.width, height: defaults.height, crop: Crop::default() };
        let pairs = draw(ShapesSet::Quality, 0, 0..count as u64).into_iter().map(|example| {
            let loser = example.loser.context("the set has no losers")?;
            let files = [png(&example.winner)?, png(&loser)?];
            Ok((example.caption, files))
        });
        Ok(Self {
            pairs: pairs.collect::<Result<_>>()?,
            scaling_factor: VaeConfig::read(&folders.part("vae")?.join("config.json"))?.scaling_factor,
            encoder: Encoder::new(folders, device, frame),
        })
    }

    /// Decodes and encodes the pairs, and replaces latents, text states and CLIP features of the batch by the result.
    pub(crate) fn encode_into(&mut self, batch: &mut Batch) -> Result<()> {
        let decoded = |file: &Vec<u8>| decode(file).map_err(anyhow::Error::msg);
        let examples = self.pairs.iter().zip(0..).map(|((caption, [winner, loser]), row)| {
            let source = Source { file: "seed 0".to_owned(), row };
            Ok(Example {
                row,
                caption: caption.clone(),
                winner: decoded(winner)?,
                loser: Some(decoded(loser)?),
                source,
                list: None,
            })
        });
        let examples: Vec<Example> = examples.collect::<Result<_>>()?;
        let mut encoding = Encoding::of(&[EncodedPart::Latents, EncodedPart::Text, EncodedPart::Clip].into());
        self.encoder.add(&mut encoding, &examples)?;
        let tensors: BTreeMap<TensorName, Tensor> =
            self.encoder.finish(encoding)?.into_values().flatten().collect();
        let tensor =
            |name: TensorName| tensors.get(&name).with_context(|| format!("the encoding lacks {name}"));
        let captions = tensor(TensorName::CaptionRow)?;
        let device = batch.winner.device().clone();
        let latents =
            |name| -> Result<Tensor> { Ok((tensor(name)? * self.scaling_factor)?.to_device(&device)?) };
        batch.winner = latents(TensorName::Mean { side: Side::Winner, mirrored: false })?;
        batch.loser = Some(latents(TensorName::Mean { side: Side::Loser, mirrored: false })?);
        let states = tensor(TensorName::TextStates)?.index_select(captions, 0)?.to_device(&device)?;
        batch.conditioning.iter_mut().for_each(|side| side.text = states.clone());
        batch.clip = Some(ClipFeatures {
            winner: tensor(TensorName::ClipImage(Side::Winner))?.clone(),
            loser: tensor(TensorName::ClipImage(Side::Loser))?.clone(),
            text: tensor(TensorName::ClipText)?.index_select(captions, 0)?,
        });
        Ok(())
    }
}
