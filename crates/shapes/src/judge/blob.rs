//! Connected components of an image.

use crate::image::SIDE;

/// Components with fewer pixels are ignored.
const LEAST_AREA: usize = 40;

/// A 4-connected set of pixels.
pub(super) struct Blob {
    /// Indices of the pixels.
    pub(super) pixels: Vec<usize>,
}

/// The connected components of the pixels above the threshold, the largest first.
pub(super) fn blobs(values: &[f32], threshold: f32) -> Vec<Blob> {
    let mut open: Vec<bool> = values.iter().map(|&value| value > threshold).collect();
    let mut blobs = Vec::new();
    for start in 0..open.len() {
        if !open[start] {
            continue;
        }
        open[start] = false;
        let mut pixels = vec![start];
        let mut next = 0;
        while next < pixels.len() {
            for neighbour in neighbours(pixels[next]) {
                if std::mem::take(&mut open[neighbour]) {
                    pixels.push(neighbour);
                }
            }
            next += 1;
        }
        if pixels.len() >= LEAST_AREA {
            blobs.push(Blob { pixels });
        }
    }
    blobs.sort_by_key(|blob| std::cmp::Reverse(blob.pixels.len()));
    blobs
}

impl Blob {
    /// The pixels of the blob and their neighbours, which the object may cover partly.
    pub(super) fn with_rim(&self) -> Vec<usize> {
        let mut all: Vec<usize> = self.pixels.iter().flat_map(|&pixel| neighbours(pixel)).collect();
        all.extend(&self.pixels);
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The pixels above, below, left and right that lie inside the image.
fn neighbours(pixel: usize) -> impl Iterator<Item = usize> {
    let (x, y) = (pixel % SIDE, pixel / SIDE);
    let candidates = [
        (y > 0).then(|| pixel - SIDE),
        (y + 1 < SIDE).then(|| pixel + SIDE),
        (x > 0).then(|| pixel - 1),
        (x + 1 < SIDE).then(|| pixel + 1),
    ];
    candidates.into_iter().flatten()
}
