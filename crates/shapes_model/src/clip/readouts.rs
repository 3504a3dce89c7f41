//! Auxiliary classifiers: they predict tokens and attributes from a tower's output, and are dropped after training.

use super::configs::WIDTH;
use crate::cross_entropy::of_classes;
use anyhow::Result;
use candle_core::Tensor;
use diffusion::nn::Linear;
use diffusion::weights::Parameters;
use shapes::world::{Background, Colour, Scene, Shape, Size};

/// Classes of the first object's shape, colour and size and of the background; `None` where the caption does not
/// state one.
pub(super) type Attributes = [Option<u32>; 4];

pub(super) fn attributes(scene: &Scene, caption: &str) -> Attributes {
    let says = |word: &str| caption.split([' ', ',']).any(|w| w == word);
    let object = &scene.objects[0];
    let class = |i: Option<usize>| i.map(|i| i as u32);
    [
        class(Shape::ALL.iter().position(|&s| s == object.shape)),
        class(Colour::ALL.iter().position(|&c| c == object.colour)),
        class(object.size.filter(|s| says(s.name())).and_then(|s| Size::ALL.iter().position(|&x| x == s))),
        class(
            Background::ALL
                .iter()
                .position(|&b| b == scene.background)
                .filter(|_| says(scene.background.name())),
        ),
    ]
}

/// Linear classifiers.
pub(super) struct Readouts {
    /// Predicts each token from its state.
    pub(super) words: Linear,
    attributes: [Linear; 4],
}

impl Readouts {
    pub(super) fn new(parameters: &Parameters) -> Result<Self> {
        let root = parameters.root();
        let head = |name: &str, classes: usize| Linear::new(&root.at(name), WIDTH, classes);
        Ok(Self {
            words: head("words", shapes::vocabulary::tokens().len())?,
            attributes: [
                head("shape", Shape::ALL.len())?,
                head("colour", Colour::ALL.len())?,
                head("size", Size::ALL.len())?,
                head("background", Background::ALL.len())?,
            ],
        })
    }

    /// Cross-entropy of the attributes predicted from `features`, (rows, width).
    pub(super) fn attribute_loss(&self, features: &Tensor, attributes: &[Attributes]) -> Result<Tensor> {
        let mut total = Tensor::zeros((), features.dtype(), features.device())?;
        for (i, head) in self.attributes.iter().enumerate() {
            let classes: Vec<Option<u32>> = attributes.iter().map(|a| a[i]).collect();
            total = (total + of_classes(&head.forward(features)?, &classes)?)?;
        }
        Ok(total)
    }
}
