//! One example of a training set.

use datasets::pair::ListPlace;
use domain::dataset::Source;
use image::RgbImage;

/// A captioned image, or a preference pair.
#[derive(Clone, Debug)]
pub struct Example {
    /// Row in the set, counting damaged rows.
    pub row: u64,
    /// Caption of the image, or prompt of both images.
    pub caption: String,
    /// The image, or the winner of the pair.
    pub winner: RgbImage,
    /// The loser of the pair.
    pub loser: Option<RgbImage>,
    /// File and row that the example comes from.
    pub source: Source,
    /// The ranked list that both images belong to, if they do.
    pub list: Option<ListPlace>,
}
