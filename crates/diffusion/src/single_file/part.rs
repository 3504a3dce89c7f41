//! A part of the converted model, and the tensors of the file that it consists of.

use crate::torch_file::StoredTensor;
use crate::weights::Stem;
use serde_json::Value;

/// A network of the converted model.
#[derive(Clone, Debug)]
pub struct Part {
    /// The name of its folder.
    pub name: &'static str,
    /// The content of its `config.json`.
    pub config: Value,
    /// Its tensors.
    pub tensors: Vec<RenamedTensor>,
}

impl Part {
    /// The name of its weights file.
    #[must_use]
    pub fn weights_file(&self) -> String {
        let stem = if self.name.starts_with("text_encoder") { Stem::TRANSFORMER } else { Stem::NETWORK };
        stem.written()
    }
}

/// A tensor of the converted model and the tensor of the file that it is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedTensor {
    /// The name in the converted model.
    pub new: String,
    /// The name in the file.
    pub old: String,
    /// How the values are taken from the tensor in the file.
    pub view: View,
}

/// How a tensor is taken from a tensor of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The whole tensor.
    Whole,
    /// This third of the rows, of a tensor with the rows of queries, keys and values.
    Third(usize),
    /// The transpose of the matrix.
    Transposed,
    /// The whole tensor without trailing dimensions of 1: a 1 x 1 convolution as a matrix.
    Matrix,
}

impl View {
    /// The view of a tensor, if the tensor has the dimensions that it needs.
    pub(super) fn of(self, tensor: &StoredTensor) -> Option<StoredTensor> {
        match self {
            Self::Whole => Some(tensor.clone()),
            Self::Third(i) => {
                let rows = tensor.shape().first()? / 3;
                tensor.rows(i * rows, rows)
            }
            Self::Transposed => tensor.transposed(),
            Self::Matrix => Some(tensor.without_trailing_ones(2)),
        }
    }

    /// The shape of the view of a tensor of shape `shape`.
    pub(super) fn shape(self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        match self {
            Self::Whole => {}
            Self::Third(_) => {
                if let Some(rows) = shape.first_mut() {
                    // 0 rows fit no parameter.
                    *rows = if *rows % 3 == 0 { *rows / 3 } else { 0 };
                }
            }
            Self::Transposed => shape.reverse(),
            Self::Matrix => {
                while shape.len() > 2 && shape.last() == Some(&1) {
                    shape.pop();
                }
            }
        }
        shape
    }
}
