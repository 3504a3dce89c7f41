//! The squared Frechet distance of two Gaussians (D. Dowson and B. Landau 1982): |m1 - m2|^2 + Tr S1 + Tr S2 - 2 Tr
//! sqrt(S1 S2).

use super::error::FidError;
use super::statistics::Statistics;
use candle_core::{Device, Tensor};
use nalgebra::{Cholesky, DMatrix, SymmetricEigen};

/// The squared distance, which is the number that FID reports.
///
/// With S = F F', the trace of the root is the sum of the singular values of F1' F2. That equals the sum of the roots
/// of the eigenvalues of S1 S2, which the reference packages compute, but avoids squaring small values. Directions in
/// which a covariance is zero up to rounding (fewer images than features) are left out exactly; the packages add 1e-6
/// to the diagonals or drop imaginary parts.
///
/// # Errors
/// Fails if the widths differ or a covariance has values that are not finite.
pub fn frechet_distance(a: &Statistics, b: &Statistics) -> Result<f64, FidError> {
    if a.width() != b.width() {
        return Err(FidError::Sides(format!(
            "one side has {} features and the other {}: both must come from the same network",
            a.width(),
            b.width()
        )));
    }
    let means: f64 = a.mean.iter().zip(&b.mean).map(|(a, b)| (a - b).powi(2)).sum();
    let product = factor(a)?.t()?.matmul(&factor(b)?)?;
    let (rows, columns) = product.dims2()?;
    let product = DMatrix::from_row_slice(rows, columns, &product.flatten_all()?.to_vec1::<f64>()?);
    let root: f64 = if product.is_empty() { 0.0 } else { product.singular_values().sum() };
    // Rounding can make the distance of equal sides negative.
    Ok((means + trace(a) + trace(b) - 2.0 * root).max(0.0))
}

fn trace(statistics: &Statistics) -> f64 {
    statistics.covariance.iter().step_by(statistics.width() + 1).sum()
}

/// F with S = F F', (width, columns), where the number of columns is at least the rank.
fn factor(statistics: &Statistics) -> Result<Tensor, FidError> {
    if let Some(factor) = &statistics.factor {
        return Ok(factor.clone());
    }
    let width = statistics.width();
    if statistics.covariance.iter().any(|v| !v.is_finite()) {
        return Err(FidError::Sides("a covariance has values that are not finite".to_owned()));
    }
    let covariance = DMatrix::from_row_slice(width, width, &statistics.covariance);
    // The tolerance by which numpy and MATLAB determine the rank of a matrix.
    let zero = |largest: f64| width as f64 * f64::EPSILON * largest;
    let smallest_pivot = zero(covariance.diagonal().max());
    let triangle = Cholesky::new(covariance.clone()).map(Cholesky::unpack);
    let regular = |l: &DMatrix<f64>| l.diagonal().iter().all(|pivot| pivot * pivot > smallest_pivot);
    let factor = match triangle.filter(regular) {
        Some(triangle) => triangle,
        None => {
            let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(covariance);
            let smallest = zero(eigenvalues.max());
            let kept: Vec<usize> = (0..width).filter(|&i| eigenvalues[i] > smallest).collect();
            DMatrix::from_fn(width, kept.len(), |i, j| {
                eigenvectors[(i, kept[j])] * eigenvalues[kept[j]].sqrt()
            })
        }
    };
    let rows: Vec<f64> = factor.transpose().as_slice().to_vec();
    Ok(Tensor::from_vec(rows, (width, factor.ncols()), &Device::Cpu)?)
}
