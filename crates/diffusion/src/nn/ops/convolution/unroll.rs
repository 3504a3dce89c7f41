//! Unrolling patches of an image into the columns of a matrix (im2col), a tile of output pixels at a time.

use super::shape::Sizes;
use crate::nn::cpu::matmul::{Matrix, Threads};
use crate::nn::cpu::scratch::with_scratch;

/// A block of output pixels: rows `y0..y1` of `images` images, starting with image `first`. A tile of several images
/// has all their rows.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) first: usize,
    pub(super) images: usize,
    pub(super) y0: usize,
    pub(super) y1: usize,
}

/// The largest number of output pixels of a tile: enough for the blocking of the product, small enough for the caches.
const TILE_PIXELS: usize = 512;

/// The largest number of unrolled values at a time: half a megabyte, which fits into the L2 cache beside the weight.
const COLUMNS: usize = 1 << 17;

/// Splits the output into tiles. The split does not depend on the number of threads, so results do not either.
pub(super) fn tiles(s: &Sizes) -> Vec<Tile> {
    let pixels = s.pixels();
    let target = (s.batch * pixels / 4).clamp(64, TILE_PIXELS);
    if pixels >= target {
        let rows = (target / s.out_width).clamp(1, s.out_height);
        (0..s.batch)
            .flat_map(|first| {
                (0..s.out_height).step_by(rows).map(move |y0| Tile {
                    first,
                    images: 1,
                    y0,
                    y1: (y0 + rows).min(s.out_height),
                })
            })
            .collect()
    } else {
        let images = target / pixels;
        (0..s.batch)
            .step_by(images)
            .map(|first| Tile { first, images: images.min(s.batch - first), y0: 0, y1: s.out_height })
            .collect()
    }
}

/// Writes the patches of a tile for input channels `c0..c1` to `columns`, (channels * kernel area, pixels of the tile).
pub(super) fn unroll(s: &Sizes, x: &[f32], tile: Tile, c0: usize, c1: usize, columns: &mut [f32]) {
    let per_image = (tile.y1 - tile.y0) * s.out_width;
    let pixels = per_image * tile.images;
    for p in 0..tile.images {
        let image = &x[(tile.first + p) * s.image()..][..s.image()];
        for c in c0..c1 {
            let channel = &image[c * s.height * s.width..][..s.height * s.width];
            for ky in 0..s.kernel[0] {
                for kx in 0..s.kernel[1] {
                    let row = (c - c0) * s.area() + ky * s.kernel[1] + kx;
                    let out = &mut columns[row * pixels + p * per_image..][..per_image];
                    for (y, out) in (tile.y0..tile.y1).zip(out.chunks_exact_mut(s.out_width)) {
                        unroll_row(s, channel, y * s.stride + ky, kx, out);
                    }
                }
            }
        }
    }
}

/// Unrolls one row of output pixels for one kernel element. `padded_y` counts from the first row of the padding.
#[inline]
fn unroll_row(s: &Sizes, channel: &[f32], padded_y: usize, kx: usize, out: &mut [f32]) {
    let [above, left] = s.padding;
    if padded_y < above || padded_y - above >= s.height {
        out.fill(0.0);
        return;
    }
    let line = &channel[(padded_y - above) * s.width..][..s.width];
    if s.stride == 1 {
        // out[i] = line[i + kx - left] within the image
        let begin = left.saturating_sub(kx).min(out.len());
        let end = (s.width + left - kx).min(out.len()).max(begin);
        out[..begin].fill(0.0);
        out[begin..end].copy_from_slice(&line[begin + kx - left..end + kx - left]);
        out[end..].fill(0.0);
    } else {
        for (i, out) in out.iter_mut().enumerate() {
            let x = i * s.stride + kx;
            *out = if x < left || x - left >= s.width { 0.0 } else { line[x - left] };
        }
    }
}

/// Calls `consume` with groups of input channels whose unrolled patches fit into a core's cache: whether the group is the
/// first, the columns of the weight for it, and the patches of the tile.
pub(super) fn for_each_channel_group(
    s: &Sizes,
    x: &[f32],
    weight: &[f32],
    tile: Tile,
    threads: Threads,
    mut consume: impl FnMut(bool, Matrix<'_>, Matrix<'_>),
) {
    let here = (tile.y1 - tile.y0) * s.out_width * tile.images;
    let fitting = match threads {
        Threads::Caller => (COLUMNS / (s.area() * here)).clamp(1, s.inputs),
        Threads::Pool => s.inputs,
    };
    for c0 in (0..s.inputs).step_by(fitting) {
        let c1 = (c0 + fitting).min(s.inputs);
        let rows = (c1 - c0) * s.area();
        with_scratch(rows * here, |columns| {
            unroll(s, x, tile, c0, c1, columns);
            consume(c0 == 0, s.weight_of_channels(weight, c0, c1), Matrix::new(columns, rows, here));
        });
    }
}
