//! What a UNet is told beside latents and timestep: the text, and by SDXL's the whole prompt in one vector and the
//! sizes of the image.

use crate::Result;
use crate::unet::Added;
use candle_core::{DType, Device, Tensor};

/// Numbers about an image that SDXL's UNet is told.
pub const TIME_IDS: usize = 6;

/// What text encoders make of texts.
#[derive(Clone, Debug)]
pub struct EncodedText {
    /// (texts, tokens, width).
    pub states: Tensor,
    /// (texts, width): one vector for each whole text, of models whose UNet reads it.
    pub pooled: Option<Tensor>,
}

/// What SDXL is told of an image, in pixels (micro-conditioning): how large it was, and what part of it this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MicroConditioning {
    /// Height and width of the whole image before anything was done to it.
    pub original_size: [u32; 2],
    /// Top and left of the part that was cut out.
    pub crop: [u32; 2],
    /// Height and width of the image that is denoised.
    pub target_size: [u32; 2],
}

/// What a UNet is told of each image of a batch.
#[derive(Clone, Debug)]
pub struct Conditioning {
    /// (batch, tokens, width): text states.
    pub text: Tensor,
    /// For a UNet that reads it.
    pub added: Option<Added>,
}

impl MicroConditioning {
    /// Of an image that is whole: neither resized nor cut.
    #[must_use]
    pub fn whole(height: u32, width: u32) -> Self {
        Self { original_size: [height, width], crop: [0, 0], target_size: [height, width] }
    }

    /// In the order in which the UNet reads them.
    fn time_ids(&self) -> [f32; TIME_IDS] {
        let Self { original_size: [height, width], crop: [top, left], target_size } = *self;
        [height, width, top, left, target_size[0], target_size[1]].map(|pixels| pixels as f32)
    }
}

impl EncodedText {
    /// Some of the texts, in this order; a text may come more than once.
    ///
    /// # Errors
    /// There is no such text.
    pub fn rows(&self, indices: &[u32]) -> Result<Self> {
        let pick = |t: &Tensor| t.index_select(&Tensor::new(indices, t.device())?, 0);
        Ok(Self { states: pick(&self.states)?, pooled: self.pooled.as_ref().map(pick).transpose()? })
    }

    /// Together with what is to be known of each text's image, which a model without pooled text does not read.
    ///
    /// # Errors
    /// candle's.
    pub fn of_images(&self, images: &[MicroConditioning]) -> Result<Conditioning> {
        let added = self
            .pooled
            .as_ref()
            .map(|pooled| {
                let time_ids: Vec<f32> = images.iter().flat_map(MicroConditioning::time_ids).collect();
                let time_ids = Tensor::from_vec(time_ids, (images.len(), TIME_IDS), pooled.device())?;
                Ok::<_, candle_core::Error>(Added { pooled: pooled.clone(), time_ids })
            })
            .transpose()?;
        Ok(Conditioning { text: self.states.clone(), added })
    }
}

impl Conditioning {
    /// The images from `first` on, `count` of them.
    ///
    /// # Errors
    /// There are fewer.
    pub fn narrow(&self, first: usize, count: usize) -> Result<Self> {
        self.each(|t| t.narrow(0, first, count))
    }

    /// Several, one after another: all with pooled text and time ids, or all without.
    ///
    /// # Errors
    /// There is none, or they are of several models.
    pub fn join(parts: &[Self]) -> Result<Self> {
        let join = |of: &dyn Fn(&Self) -> Option<Tensor>| {
            Tensor::cat(&parts.iter().filter_map(of).collect::<Vec<_>>(), 0)
        };
        let added = parts.iter().any(|part| part.added.is_some()).then(|| {
            let pooled = join(&|part| part.added.as_ref().map(|added| added.pooled.clone()))?;
            let time_ids = join(&|part| part.added.as_ref().map(|added| added.time_ids.clone()))?;
            Ok::<_, candle_core::Error>(Added { pooled, time_ids })
        });
        Ok(Self { text: join(&|part| Some(part.text.clone()))?, added: added.transpose()? })
    }

    /// # Errors
    /// candle's.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        self.each(|t| t.to_device(device))
    }

    /// With text states and pooled text in the type of a UNet's weights. Time ids stay as they are: bf16 would round
    /// 1023 pixels to 1024.
    ///
    /// # Errors
    /// candle's.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let added = self.added.as_ref().map(|Added { pooled, time_ids }| {
            Ok::<_, candle_core::Error>(Added { pooled: pooled.to_dtype(dtype)?, time_ids: time_ids.clone() })
        });
        Ok(Self { text: self.text.to_dtype(dtype)?, added: added.transpose()? })
    }

    fn each(&self, change: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Self> {
        let added = self.added.as_ref().map(|Added { pooled, time_ids }| {
            Ok::<_, candle_core::Error>(Added { pooled: change(pooled)?, time_ids: change(time_ids)? })
        });
        Ok(Self { text: change(&self.text)?, added: added.transpose()? })
    }
}
