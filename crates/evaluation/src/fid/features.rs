//! Features of a set of images.

/// One row of features per image.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    width: usize,
    values: Vec<f32>,
}

impl Features {
    /// Wraps rows of `width` values, one after another.
    ///
    /// # Panics
    /// Panics if `width` is 0 or the number of values is not a multiple of it.
    #[must_use]
    pub fn new(width: usize, values: Vec<f32>) -> Self {
        assert!(width > 0 && values.len().is_multiple_of(width), "features are whole rows");
        Self { width, values }
    }

    /// The number of rows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.width
    }

    /// The number of values in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Row `i`; panics if there are fewer.
    pub(super) fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..][..self.width]
    }

    /// All rows, one after another.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Scales every row to unit length.
    pub(super) fn normalised(mut self) -> Self {
        for row in self.values.chunks_exact_mut(self.width) {
            let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(1e-12);
            row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
        }
        self
    }
}
