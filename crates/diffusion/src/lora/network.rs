//! The networks that an adapter file can update.

use std::fmt;

/// A network that an adapter can update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Network {
    /// The UNet.
    Unet,
    /// The text encoder; the first one of SDXL.
    TextEncoder,
    /// The second text encoder of SDXL.
    TextEncoder2,
}

impl Network {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unet, Self::TextEncoder, Self::TextEncoder2];

    /// The network in a model's folder of this name.
    #[must_use]
    pub fn of_part(part: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.as_str() == part)
    }

    /// The name of the network's folder, which is also the prefix of its tensors.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
