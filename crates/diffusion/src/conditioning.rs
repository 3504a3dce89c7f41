//! The conditioning of a UNet: text states, and for SDXL also pooled text and the sizes of the image.

use crate::Result;
use crate::unet::AddedConditioning;
use candle_core::{DType, Device, Tensor};

/// The number of time ids of SDXL's UNet: the six values of [`MicroConditioning`].
pub const TIME_IDS: usize = 6;

/// Texts encoded by a model's text encoders.
#[derive(Clone, Debug)]
pub struct EncodedText {
    /// The states of all tokens, (texts, tokens, width).
    pub states: Tensor,
    /// One vector per text, (texts, width), for models whose UNet uses pooled text.
    pub pooled: Option<Tensor>,
}

/// The sizes of an image in pixels that condition SDXL (Podell et al. 2023, "micro-conditioning").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MicroConditioning {
    /// Height and width of the image before it was resized and cropped.
    pub original_size: [u32; 2],
    /// Top and left of the crop.
    pub crop: [u32; 2],
    /// Height and width of the image that is denoised.
    pub target_size: [u32; 2],
}

/// The conditioning of a UNet for a batch of images.
#[derive(Clone, Debug)]
pub struct Conditioning {
    /// The text states, (batch, tokens, width).
    pub text: Tensor,
    /// Pooled text and time ids, for a UNet that uses them.
    pub added: Option<AddedConditioning>,
}

impl MicroConditioning {
    /// The sizes of an image that is neither resized nor cropped.
    #[must_use]
    pub fn whole(height: u32, width: u32) -> Self {
        Self { original_size: [height, width], crop: [0, 0], target_size: [height, width] }
    }

    /// The values in the order that the UNet expects.
    fn time_ids(&self) -> [f32; TIME_IDS] {
        let Self { original_size: [height, width], crop: [top, left], target_size } = *self;
        [height, width, top, left, target_size[0], target_size[1]].map(|pixels| pixels as f32)
    }
}

impl EncodedText {
    /// Selects texts by index, in this order; an index may occur more than once.
    ///
    /// # Errors
    /// Fails if an index is out of range.
    pub fn rows(&self, indices: &[u32]) -> Result<Self> {
        let pick = |t: &Tensor| t.index_select(&Tensor::new(indices, t.device())?, 0);
        Ok(Self { states: pick(&self.states)?, pooled: self.pooled.as_ref().map(pick).transpose()? })
    }

    /// The conditioning for images of these sizes, one per text. Models without pooled text ignore the sizes.
    ///
    /// # Errors
    /// Fails if a tensor cannot be created.
    pub fn for_images(&self, images: &[MicroConditioning]) -> Result<Conditioning> {
        let added = self
            .pooled
            .as_ref()
            .map(|pooled| {
                let time_ids: Vec<f32> = images.iter().flat_map(MicroConditioning::time_ids).collect();
                let time_ids = Tensor::from_vec(time_ids, (images.len(), TIME_IDS), pooled.device())?;
                Ok::<_, candle_core::Error>(AddedConditioning { pooled: pooled.clone(), time_ids })
            })
            .transpose()?;
        Ok(Conditioning { text: self.states.clone(), added })
    }
}

impl Conditioning {
    /// The conditioning of `count` images, from `first` on.
    ///
    /// # Errors
    /// Fails if there are fewer images.
    pub fn narrow(&self, first: usize, count: usize) -> Result<Self> {
        self.map(|t| t.narrow(0, first, count))
    }

    /// Concatenates batches of one model.
    ///
    /// # Errors
    /// Fails if `parts` is empty or the parts belong to different models.
    pub fn join(parts: &[Self]) -> Result<Self> {
        let join = |of: &dyn Fn(&Self) -> Option<Tensor>| {
            Tensor::cat(&parts.iter().filter_map(of).collect::<Vec<_>>(), 0)
        };
        let added = parts.iter().any(|part| part.added.is_some()).then(|| {
            let pooled = join(&|part| part.added.as_ref().map(|added| added.pooled.clone()))?;
            let time_ids = join(&|part| part.added.as_ref().map(|added| added.time_ids.clone()))?;
            Ok::<_, candle_core::Error>(AddedConditioning { pooled, time_ids })
        });
        Ok(Self { text: join(&|part| Some(part.text.clone()))?, added: added.transpose()? })
    }

    /// Copies all tensors to `device`.
    ///
    /// # Errors
    /// Fails if a tensor cannot be copied.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        self.map(|t| t.to_device(device))
    }

    /// Converts text states and pooled text to the type of a UNet's weights. Time ids stay `f32`: `bf16` would round 1023
    /// pixels to 1024.
    ///
    /// # Errors
    /// Fails if a tensor cannot be converted.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let added = self.added.as_ref().map(|AddedConditioning { pooled, time_ids }| {
            let (pooled, time_ids) = (pooled.to_dtype(dtype)?, time_ids.clone());
            Ok::<_, candle_core::Error>(AddedConditioning { pooled, time_ids })
        });
        Ok(Self { text: self.text.to_dtype(dtype)?, added: added.transpose()? })
    }

    fn map(&self, f: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Self> {
        let added = self.added.as_ref().map(|AddedConditioning { pooled, time_ids }| {
            Ok::<_, candle_core::Error>(AddedConditioning { pooled: f(pooled)?, time_ids: f(time_ids)? })
        });
        Ok(Self { text: f(&self.text)?, added: added.transpose()? })
    }
}
