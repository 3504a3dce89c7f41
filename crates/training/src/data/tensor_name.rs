//! The tensors of an encoded set and their names in shard files.

/// A side of a preference pair. Images of a set without pairs are winners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The image that people preferred.
    Winner,
    /// The other one.
    Loser,
}

impl Side {
    /// Winner, then loser.
    pub const ALL: [Self; 2] = [Self::Winner, Self::Loser];
}

/// A tensor of an encoded set. Shapes are those of one shard with N examples and K different captions, the empty one
/// included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TensorName {
    /// Mean of the VAE's posterior of the images, or of the mirrored images: (N, channels, height, width), f32.
    Mean {
        /// Which images.
        side: Side,
        /// Turned left to right.
        mirrored: bool,
    },
    /// Log-variance of the posterior, shaped as the mean.
    LogVariance {
        /// Which images.
        side: Side,
        /// Turned left to right.
        mirrored: bool,
    },
    /// Original size and crop of the images (`frame::CropPlace`): (N, 5), u32.
    CropPlace(Side),
    /// The place of each pair in a ranked list: number of the list, its pairs, rank of the winner, rank of the loser: (N, 4),
    /// u32. Only in sets with lists.
    ListPlace,
    /// 1 where the caption names a side ("left" or "right"), so that the image must not be mirrored, else 0: (N), u32.
    NamesSide,
    /// Row of each example's caption among the captions: (N), u32.
    CaptionRow,
    /// The captions as a JSON list of K texts, in bytes. The first is empty, for caption dropout.
    Captions,
    /// Hidden states of the text encoders: (K, tokens, width), f32.
    TextStates,
    /// Pooled text of models whose UNet reads it (SDXL): (K, width), f32.
    PooledText,
    /// CLIP features of the images, (N, width), f32.
    ClipImage(Side),
    /// CLIP features of the captions, (K, width), f32.
    ClipText,
}

impl TensorName {
    /// The name in shard files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mean { side: Side::Winner, mirrored: false } => "winner.mean",
            Self::Mean { side: Side::Winner, mirrored: true } => "winner.mirrored.mean",
            Self::Mean { side: Side::Loser, mirrored: false } => "loser.mean",
            Self::Mean { side: Side::Loser, mirrored: true } => "loser.mirrored.mean",
            Self::LogVariance { side: Side::Winner, mirrored: false } => "winner.log_variance",
            Self::LogVariance { side: Side::Winner, mirrored: true } => "winner.mirrored.log_variance",
            Self::LogVariance { side: Side::Loser, mirrored: false } => "loser.log_variance",
            Self::LogVariance { side: Side::Loser, mirrored: true } => "loser.mirrored.log_variance",
            Self::CropPlace(Side::Winner) => "winner.place",
            Self::CropPlace(Side::Loser) => "loser.place",
            Self::ListPlace => "list",
            Self::NamesSide => "sided",
            Self::CaptionRow => "caption",
            Self::Captions => "captions",
            Self::TextStates => "text",
            Self::PooledText => "pooled",
            Self::ClipImage(Side::Winner) => "clip.winner",
            Self::ClipImage(Side::Loser) => "clip.loser",
            Self::ClipText => "clip.text",
        }
    }

    /// Whether the tensor has one row per caption instead of one per example.
    pub(super) fn is_per_caption(self) -> bool {
        matches!(self, Self::TextStates | Self::PooledText | Self::ClipText)
    }
}

impl std::fmt::Display for TensorName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
