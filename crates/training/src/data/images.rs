//! Images as tensors.

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use diffusion::noise::Noise;
use domain::prepare::Crop;
use image::RgbImage;
use image::imageops::{self, FilterType};
use shapes::{Image, SIDE};

/// Images of the bundled world as (batch, 3, height, width) from -1 to 1.
///
/// # Errors
/// candle's.
pub fn to_tensor<'a>(images: impl ExactSizeIterator<Item = &'a Image>, device: &Device) -> Result<Tensor> {
    pixels(images.map(Image::pixels), [SIDE, SIDE], device)
}

/// Images of one size as (batch, 3, height, width) from -1 to 1.
///
/// # Errors
/// They differ in size, or candle's.
pub fn images_to_tensor(images: &[RgbImage], device: &Device) -> Result<Tensor> {
    let (width, height) = images.first().map_or((0, 0), RgbImage::dimensions);
    ensure!(images.iter().all(|p| p.dimensions() == (width, height)), "images of several sizes");
    pixels(images.iter().map(|p| p.as_raw().as_slice()), [height as usize, width as usize], device)
}

fn pixels<'a>(
    images: impl ExactSizeIterator<Item = &'a [u8]>,
    [height, width]: [usize; 2],
    device: &Device,
) -> Result<Tensor> {
    let (count, plane) = (images.len(), height * width);
    let mut values = vec![0f32; count * 3 * plane];
    for (image, values) in images.zip(values.chunks_exact_mut(3 * plane)) {
        for (i, pixel) in image.chunks_exact(3).enumerate() {
            for (channel, &level) in pixel.iter().enumerate() {
                values[channel * plane + i] = f32::from(level) / 127.5 - 1.0;
            }
        }
    }
    Ok(Tensor::from_vec(values, (count, 3, height, width), device)?)
}

/// What is encoded of every image: a part of this size, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// Which part.
    pub crop: Crop,
}

/// How large an image was, and which part of it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Height and width before it was resized.
    pub original_size: [u32; 2],
    /// Of the part, in the resized image.
    pub top: u32,
    /// Of the part, in the resized image.
    pub left: u32,
    /// Of the same part when the image is mirrored.
    pub mirrored_left: u32,
}

/// Of the draws that place random crops: of the set's rows alone, so that all runs share what is encoded.
const CROPS: u64 = 0;

impl Frame {
    /// A part of an image: resized until it just covers the frame, then cut. The resized size is torchvision's, bilinear
    /// over all pixels that fall together as its `Resize` does on images, and a centre is its `CenterCrop`'s. `row`
    /// decides a random place: the same share of what is over for both images of a pair, whatever their sizes.
    #[must_use]
    pub fn cut(self, image: &RgbImage, row: u64) -> RgbImage {
        let Self { width, height, .. } = self;
        if image.dimensions() == (width, height) {
            return image.clone();
        }
        let [wide, high] = self.covered(image.width(), image.height());
        let Place { top, left, .. } = self.place(image, row);
        let resized = imageops::resize(image, wide, high, FilterType::Triangle);
        imageops::crop_imm(&resized, left, top, width, height).to_image()
    }

    /// Which part of an image [`Self::cut`] gives.
    #[must_use]
    pub fn place(self, image: &RgbImage, row: u64) -> Place {
        let Self { width, height, crop } = self;
        let (from_width, from_height) = image.dimensions();
        let [wide, high] = self.covered(from_width, from_height);
        let mut chance = Noise::stream(CROPS, row);
        let mut offset = |over: u32| match crop {
            Crop::Centre => (f64::from(over) / 2.0).round_ties_even() as u32,
            Crop::Random => ((chance.uniform() * f64::from(over + 1)) as u32).min(over),
        };
        let (top, left) = (offset(high - height), offset(wide - width));
        let mirrored_left = wide - width - left;
        Place { original_size: [from_height, from_width], top, left, mirrored_left }
    }

    /// Width and height of an image that just covers the frame: one side fits, and of the other what is more than a whole
    /// pixel is dropped, as torchvision does.
    fn covered(self, width: u32, height: u32) -> [u32; 2] {
        let [from_width, from_height] = [width, height].map(|side| u64::from(side.max(1)));
        let [to_width, to_height] = [self.width, self.height].map(u64::from);
        let side = |side: u64, least: u32| u32::try_from(side).unwrap_or(u32::MAX).max(least);
        if to_width * from_height >= to_height * from_width {
            [self.width, side(from_height * to_width / from_width, self.height)]
        } else {
            [side(from_width * to_height / from_height, self.width), self.height]
        }
    }
}

impl Place {
    /// As an encoded set stores it.
    #[must_use]
    pub fn numbers(self) -> [u32; 5] {
        let Self { original_size: [height, width], top, left, mirrored_left } = self;
        [height, width, top, left, mirrored_left]
    }

    /// From what an encoded set stores.
    #[must_use]
    pub fn of_numbers([height, width, top, left, mirrored_left]: [u32; 5]) -> Self {
        Self { original_size: [height, width], top, left, mirrored_left }
    }
}

#[cfg(test)]
mod tests {
    use super::{Crop, Frame, Place};
    use image::{Rgb, RgbImage};
    use std::collections::BTreeSet;

    fn frame(width: u32, height: u32) -> Frame {
        Frame { width, height, crop: Crop::Centre }
    }

    #[test]
    fn the_centre_is_kept_and_nothing_is_stretched() {
        // A wide image, red on the left and blue on the right, green in the middle square.
        let wide = RgbImage::from_fn(90, 30, |x, _| match x {
            0..30 => Rgb([255, 0, 0]),
            30..60 => Rgb([0, 255, 0]),
            _ => Rgb([0, 0, 255]),
        });
        let cut = frame(10, 10).cut(&wide, 0);
        assert_eq!(cut.dimensions(), (10, 10));
        assert!((1..9).all(|x| cut.get_pixel(x, 5).0 == [0, 255, 0]));
        assert_eq!(frame(90, 30).cut(&wide, 0), wide);
        assert_eq!(frame(64, 128).cut(&wide, 0).dimensions(), (64, 128));
        assert_eq!(frame(64, 64).cut(&RgbImage::new(1, 4000), 0).dimensions(), (64, 64));
    }

    /// By hand, as torchvision has it: 100 x 133 (width x height) to cover 64 x 64 is 64 wide and
    /// int(64 * 133 / 100) = int(85.12) = 85 high; 21 are over, round(10.5) = 10 (to even) of them above. 135 high make
    /// int(86.4) = 86, and 22 over, 11 above. 107 wide and 100 high are int(68.48) = 68 wide, 4 over. 200 x 103: int(124.27)
    /// = 124 wide, 60 over. 67 x 64 is not resized: 3 over, round(1.5) = 2 on the left and so 1 when mirrored.
    #[test]
    fn places_of_odd_sizes_are_torchvisions() {
        for (size, numbers) in [
            ((100, 133), [133, 100, 10, 0, 0]),
            ((100, 135), [135, 100, 11, 0, 0]),
            ((107, 100), [100, 107, 0, 2, 2]),
            ((200, 103), [103, 200, 0, 30, 30]),
            ((67, 64), [64, 67, 0, 2, 1]),
            ((64, 64), [64, 64, 0, 0, 0]),
            ((20, 10), [10, 20, 0, 32, 32]),
        ] {
            let place = frame(64, 64).place(&RgbImage::new(size.0, size.1), 0);
            assert_eq!(place.numbers(), numbers, "{size:?}");
            assert_eq!(Place::of_numbers(numbers), place);
        }
    }

    #[test]
    fn random_places_are_the_rows_own_and_reach_every_edge() {
        let random = Frame { crop: Crop::Random, ..frame(8, 8) };
        let image = RgbImage::from_fn(11, 8, |x, _| Rgb([x as u8; 3]));
        let mut seen = BTreeSet::new();
        for row in 0..64 {
            let (cut, place) = (random.cut(&image, row), random.place(&image, row));
            assert_eq!((random.cut(&image, row), random.place(&image, row)), (cut.clone(), place));
            assert_eq!((place.top, place.left + place.mirrored_left), (0, 3));
            assert_eq!(u32::from(cut.get_pixel(0, 0).0[0]), place.left);
            seen.insert(place.left);
        }
        assert_eq!(seen, BTreeSet::from([0, 1, 2, 3]));
    }
}
