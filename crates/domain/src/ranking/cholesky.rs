//! Cholesky decomposition of small dense matrices.

/// The factor L of a symmetric positive definite matrix A = L L^T.
pub struct Cholesky(Vec<Vec<f64>>);

impl Cholesky {
    /// Factorises a matrix, of which only the lower triangle is read. A matrix that is not positive definite gives a
    /// factor of something else, without an error.
    #[must_use]
    pub fn new(mut a: Vec<Vec<f64>>) -> Self {
        for j in 0..a.len() {
            for i in j..a.len() {
                let sum = a[i][j] - (0..j).map(|k| a[i][k] * a[j][k]).sum::<f64>();
                a[i][j] = if i == j { sum.max(f64::MIN_POSITIVE).sqrt() } else { sum / a[j][j] };
            }
        }
        Self(a)
    }

    /// The solution x of A x = b.
    #[must_use]
    pub fn solve(&self, mut b: Vec<f64>) -> Vec<f64> {
        let l = &self.0;
        for i in 0..b.len() {
            b[i] = (b[i] - (0..i).map(|k| l[i][k] * b[k]).sum::<f64>()) / l[i][i];
        }
        for i in (0..b.len()).rev() {
            b[i] = (b[i] - (i + 1..b.len()).map(|k| l[k][i] * b[k]).sum::<f64>()) / l[i][i];
        }
        b
    }

    /// A^-1, column by column.
    #[must_use]
    pub fn inverse(&self) -> Vec<Vec<f64>> {
        let n = self.0.len();
        let column = |j: usize| self.solve((0..n).map(|i| f64::from(u8::from(i == j))).collect());
        (0..n).map(column).collect()
    }
}
