//! Kernel distances (maximum mean discrepancy, A. Gretton and others 2012): they assume no Gaussian, and the unbiased
//! one does not grow with small numbers of images.

use super::error::FidError;
use super::features::Features;
use candle_core::{Device, Tensor};

/// The kernel distance over subsets, as it is reported for KID (M. Binkowski and others 2018).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelDistance {
    /// Mean of the distances of the subsets.
    pub mean: f64,
    /// Population standard deviation of the distances, as in torch-fidelity.
    pub deviation: f64,
    /// Images per side in a subset.
    pub subset_size: usize,
    /// The number of subsets.
    pub subsets: usize,
}

/// The unbiased squared distance with the kernel (x y / width + 1)^3 over subsets of at most `largest_subset` images,
/// drawn without replacement: `draw(n)` returns a random number below n. On features of Inception this is KID.
///
/// # Errors
/// Fails if the widths differ, a side has fewer than two images, or `subsets` is 0.
pub fn kernel_distance(
    a: &Features,
    b: &Features,
    subsets: usize,
    largest_subset: usize,
    mut draw: impl FnMut(usize) -> usize,
) -> Result<KernelDistance, FidError> {
    check(a, b)?;
    let size = largest_subset.min(a.count()).min(b.count());
    if size < 2 || subsets == 0 {
        return Err(FidError::Sides(format!(
            "{subsets} subsets of {size} images: at least 1 subset of 2 images is needed"
        )));
    }
    // There is only one subset of all images.
    let subsets = if size == a.count() && size == b.count() { 1 } else { subsets };
    let width = a.width() as f64;
    let cube = |xy: f64| (xy / width + 1.0).powi(3);
    let distance = |x: &Tensor, y: &Tensor| -> Result<f64, FidError> {
        let n = size as f64;
        let own = |x: &Tensor| -> Result<f64, FidError> {
            let kernel = products(x, x)?;
            let all: f64 = kernel.iter().map(|&xy| cube(xy)).sum();
            Ok(all - kernel.iter().step_by(size + 1).map(|&xy| cube(xy)).sum::<f64>())
        };
        let between: f64 = products(x, y)?.into_iter().map(cube).sum();
        Ok((own(x)? + own(y)?) / (n * (n - 1.0)) - 2.0 * between / (n * n))
    };
    let distances = (0..subsets)
        .map(|_| distance(&subset(a, size, &mut draw)?, &subset(b, size, &mut draw)?))
        .collect::<Result<Vec<f64>, _>>()?;
    let mean = distances.iter().sum::<f64>() / subsets as f64;
    let variance = distances.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / subsets as f64;
    Ok(KernelDistance { mean, deviation: variance.sqrt(), subset_size: size, subsets })
}

/// Standard deviation of CMMD's Gaussian kernel.
const CMMD_DEVIATION: f64 = 10.0;
/// The factor by which CMMD is reported.
const CMMD_SCALE: f64 = 1000.0;
/// Rows of the kernel matrix in memory at the same time. The whole matrix of ten thousand images has 800 MB.
const ROWS: usize = 512;

/// 1000 times the biased squared distance with the kernel exp(-|x - y|^2 / (2 * 10^2)) of features scaled to unit
/// length (S. Jayasumana and others 2024). On features of CLIP ViT-L/14 at 336 pixels this is CMMD; on others it is not
/// comparable with published figures.
///
/// # Errors
/// Fails if the widths differ or a side has no images.
pub fn cmmd(a: &Features, b: &Features) -> Result<f64, FidError> {
    check(a, b)?;
    if a.count() == 0 || b.count() == 0 {
        return Err(FidError::Sides("a side has no images".to_owned()));
    }
    let (x, y) = (a.clone().normalised(), b.clone().normalised());
    let mean = |x: &Features, y: &Features| -> Result<f64, FidError> {
        let squares = |f: &Features| -> Vec<f64> {
            (0..f.count()).map(|i| f.row(i).iter().map(|&v| f64::from(v).powi(2)).sum()).collect()
        };
        let (xx, yy) = (squares(x), squares(y));
        let (x, y) = (rows(x, 0..x.count())?, rows(y, 0..y.count())?);
        let mut total = 0.0;
        for (first, xx) in (0..).step_by(ROWS).zip(xx.chunks(ROWS)) {
            let kernel = products(&x.narrow(0, first, xx.len())?, &y)?;
            for (xx, kernel) in xx.iter().zip(kernel.chunks_exact(yy.len())) {
                for (yy, xy) in yy.iter().zip(kernel) {
                    let squared = (xx + yy - 2.0 * xy).max(0.0);
                    total += (-squared / (2.0 * CMMD_DEVIATION * CMMD_DEVIATION)).exp();
                }
            }
        }
        Ok(total / (xx.len() as f64 * yy.len() as f64))
    };
    Ok(CMMD_SCALE * (mean(&x, &x)? + mean(&y, &y)? - 2.0 * mean(&x, &y)?))
}

fn check(a: &Features, b: &Features) -> Result<(), FidError> {
    if a.width() == b.width() {
        return Ok(());
    }
    Err(FidError::Sides(format!(
        "one side has {} features and the other {}: both must come from the same network",
        a.width(),
        b.width()
    )))
}

/// The products x y', row by row.
fn products(x: &Tensor, y: &Tensor) -> Result<Vec<f64>, FidError> {
    Ok(x.matmul(&y.t()?.contiguous()?)?.flatten_all()?.to_vec1()?)
}

/// The chosen rows in f64, (rows, width).
fn rows(features: &Features, chosen: impl IntoIterator<Item = usize>) -> Result<Tensor, FidError> {
    let values: Vec<f64> =
        chosen.into_iter().flat_map(|i| features.row(i).iter().map(|&v| f64::from(v))).collect();
    let shape = (values.len() / features.width(), features.width());
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// `size` random rows without replacement: the beginning of a shuffle by Fisher and Yates.
fn subset(
    features: &Features,
    size: usize,
    draw: &mut impl FnMut(usize) -> usize,
) -> Result<Tensor, FidError> {
    let mut order: Vec<usize> = (0..features.count()).collect();
    for i in 0..size {
        let left = order.len() - i;
        order.swap(i, i + draw(left).min(left - 1));
    }
    rows(features, order.into_iter().take(size))
}
