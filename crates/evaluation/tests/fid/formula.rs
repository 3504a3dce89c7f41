//! Weights, images and features by the formula of the oracle: they are too large to be committed.

use candle_core::{Device, Tensor};
use evaluation::fid::Features;
use image::RgbImage;
use std::collections::BTreeMap;

/// `draw` of `oracles/fid.py`: the upper 24 bits of `SplitMix64`, seeded by the FNV-1a hash of the name.
pub(crate) fn draw(name: &str, count: usize) -> Vec<f64> {
    let hash = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    let number = |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
    };
    (0..count).map(number).collect()
}

pub(crate) fn image(name: &str, width: u32, height: u32) -> RgbImage {
    let levels = draw(name, (width * height * 3) as usize).iter().map(|u| (u * 256.0) as u8).collect();
    RgbImage::from_raw(width, height, levels).expect("as many levels as the size says")
}

pub(crate) fn features(name: &str, count: usize, width: usize) -> Features {
    let u: Vec<f32> = draw(name, count * width).iter().map(|&u| u as f32).collect();
    let row = |row: &[f32]| -> Vec<f32> {
        (0..width).map(|j| row[j] * (j % 7 + 1) as f32 + 0.5 * row[(j + 1) % width]).collect()
    };
    Features::new(width, u.chunks_exact(width).flat_map(row).collect())
}

/// The weights of Inception at full size, with the names and shapes that `convert --for inception` requires of the
/// published file.
pub(crate) fn weights() -> BTreeMap<String, Tensor> {
    let list = include_str!("../../../../trainer/src/command/convert/keys/inception.txt");
    let lines = list.lines().skip(1).filter(|line| !line.contains("num_batches_tracked"));
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default().trim_end_matches('?');
            let shape: Vec<usize> = words.map(|size| size.parse().expect("a size")).collect();
            let fan_in: usize = if shape.len() > 1 { shape[1..].iter().product() } else { 1008 };
            let bound = (6.0 / fan_in as f64).sqrt();
            let value = |u: f64| match name {
                _ if name.ends_with(".running_var") || name.ends_with(".bn.weight") => 0.5 + u,
                _ if name.ends_with(".bn.bias") => 0.4 * u - 0.1,
                _ if name.ends_with(".running_mean") => 0.2 * u - 0.1,
                _ => (2.0 * u - 1.0) * bound,
            };
            let values: Vec<f32> =
                draw(name, shape.iter().product()).into_iter().map(|u| value(u) as f32).collect();
            (name.to_owned(), Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor"))
        })
        .collect()
}
