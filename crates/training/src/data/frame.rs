//! The part of an image that is encoded: resized and cropped to one size.

use diffusion::noise::Noise;
use domain::prepare::Crop;
use image::RgbImage;
use image::imageops::{self, FilterType};

/// The size of all encoded images in pixels, and which part of a larger image is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Width of the encoded image.
    pub width: u32,
    /// Height of the encoded image.
    pub height: u32,
    /// Where the crop is placed.
    pub crop: Crop,
}

/// The original size of an image and the position of its crop, in pixels. SDXL's UNet is conditioned on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CropPlace {
    /// Height and width before resizing.
    pub(super) original_size: [u32; 2],
    /// First row of the crop in the resized image.
    pub(super) top: u32,
    /// First column of the crop in the resized image.
    pub(super) left: u32,
    /// First column of the same crop in the resized and mirrored image.
    pub(super) mirrored_left: u32,
}

/// Seed of random crops. It is fixed, so that all runs share one encoded set.
const CROP_SEED: u64 = 0;

impl Frame {
    /// Resizes an image to the smallest size that covers the frame, then crops it. As in torchvision: the resized size
    /// and antialiased bilinear filter of `Resize`, and the centre of `CenterCrop`. A random crop depends on the
    /// example's `row` only, so both images of a pair are cropped at the same fraction of what exceeds the frame.
    pub(super) fn apply(self, image: &RgbImage, row: u64) -> RgbImage {
        let Self { width, height, .. } = self;
        if image.dimensions() == (width, height) {
            return image.clone();
        }
        let [resized_width, resized_height] = self.resized(image.width(), image.height());
        let CropPlace { top, left, .. } = self.place(image, row);
        let resized = imageops::resize(image, resized_width, resized_height, FilterType::Triangle);
        imageops::crop_imm(&resized, left, top, width, height).to_image()
    }

    /// Where [`Self::apply`] crops an image.
    pub(super) fn place(self, image: &RgbImage, row: u64) -> CropPlace {
        let Self { width, height, crop } = self;
        let (from_width, from_height) = image.dimensions();
        let [resized_width, resized_height] = self.resized(from_width, from_height);
        let mut noise = Noise::stream(CROP_SEED, row);
        let mut offset = |excess: u32| match crop {
            Crop::Centre => (f64::from(excess) / 2.0).round_ties_even() as u32,
            Crop::Random => ((noise.uniform() * f64::from(excess + 1)) as u32).min(excess),
        };
        let (top, left) = (offset(resized_height - height), offset(resized_width - width));
        let mirrored_left = resized_width - width - left;
        CropPlace { original_size: [from_height, from_width], top, left, mirrored_left }
    }

    /// Width and height of an image resized to cover the frame: one side equals the frame's, the other is truncated to
    /// whole pixels, as in torchvision.
    fn resized(self, width: u32, height: u32) -> [u32; 2] {
        let [from_width, from_height] = [width, height].map(|side| u64::from(side.max(1)));
        let [to_width, to_height] = [self.width, self.height].map(u64::from);
        let at_least = |smallest: u32, side: u64| u32::try_from(side).unwrap_or(u32::MAX).max(smallest);
        if to_width * from_height >= to_height * from_width {
            [self.width, at_least(self.height, from_height * to_width / from_width)]
        } else {
            [at_least(self.width, from_width * to_height / from_height), self.height]
        }
    }
}

impl CropPlace {
    /// The row of the tensor `TensorName::CropPlace`.
    pub(super) fn to_row(self) -> [u32; 5] {
        let Self { original_size: [height, width], top, left, mirrored_left } = self;
        [height, width, top, left, mirrored_left]
    }

    /// From a row of the tensor `TensorName::CropPlace`.
    pub(super) fn of_row([height, width, top, left, mirrored_left]: [u32; 5]) -> Self {
        Self { original_size: [height, width], top, left, mirrored_left }
    }
}

#[cfg(test)]
mod tests {
    use super::{CropPlace, Frame};
    use domain::prepare::Crop;
    use image::{Rgb, RgbImage};
    use std::collections::BTreeSet;

    fn frame(width: u32, height: u32) -> Frame {
        Frame { width, height, crop: Crop::Centre }
    }

    #[test]
    fn a_centre_crop_keeps_the_middle_and_the_aspect_ratio() {
        // Red on the left, green in the middle square, blue on the right.
        let wide = RgbImage::from_fn(90, 30, |x, _| match x {
            0..30 => Rgb([255, 0, 0]),
            30..60 => Rgb([0, 255, 0]),
            _ => Rgb([0, 0, 255]),
        });
        let cropped = frame(10, 10).apply(&wide, 0);
        assert_eq!(cropped.dimensions(), (10, 10));
        assert!((1..9).all(|x| cropped.get_pixel(x, 5).0 == [0, 255, 0]));
        assert_eq!(frame(90, 30).apply(&wide, 0), wide);
        assert_eq!(frame(64, 128).apply(&wide, 0).dimensions(), (64, 128));
        assert_eq!(frame(64, 64).apply(&RgbImage::new(1, 4000), 0).dimensions(), (64, 64));
    }

    /// Worked by hand, by torchvision's rules, for a frame of 64 x 64 (width x height). 100 x 133 is resized to 64 x
    /// int(64 * 133 / 100) = int(85.12) = 85; of the 21 rows too many, round(10.5) = 10 (half to even) are above the
    /// crop. 100 x 135: int(86.4) = 86 rows, 22 too many, 11 above. 107 x 100: int(68.48) = 68 columns, 4 too many. 200
    /// x 103: int(124.27) = 124 columns, 60 too many. 67 x 64 is not resized: of 3 columns too many, round(1.5) = 2 are
    /// on the left, and 1 when mirrored.
    #[test]
    fn crops_of_odd_sizes_are_those_of_torchvision() {
        for (size, row) in [
            ((100, 133), [133, 100, 10, 0, 0]),
            ((100, 135), [135, 100, 11, 0, 0]),
            ((107, 100), [100, 107, 0, 2, 2]),
            ((200, 103), [103, 200, 0, 30, 30]),
            ((67, 64), [64, 67, 0, 2, 1]),
            ((64, 64), [64, 64, 0, 0, 0]),
            ((20, 10), [10, 20, 0, 32, 32]),
        ] {
            let place = frame(64, 64).place(&RgbImage::new(size.0, size.1), 0);
            assert_eq!(place.to_row(), row, "{size:?}");
            assert_eq!(CropPlace::of_row(row), place);
        }
    }

    #[test]
    fn random_crops_depend_on_the_row_and_reach_every_offset() {
        let random = Frame { crop: Crop::Random, ..frame(8, 8) };
        let image = RgbImage::from_fn(11, 8, |x, _| Rgb([x as u8; 3]));
        let mut seen = BTreeSet::new();
        for row in 0..64 {
            let (cropped, place) = (random.apply(&image, row), random.place(&image, row));
            assert_eq!((random.apply(&image, row), random.place(&image, row)), (cropped.clone(), place));
            assert_eq!((place.top, place.left + place.mirrored_left), (0, 3));
            assert_eq!(u32::from(cropped.get_pixel(0, 0).0[0]), place.left);
            seen.insert(place.left);
        }
        assert_eq!(seen, BTreeSet::from([0, 1, 2, 3]));
    }
}
