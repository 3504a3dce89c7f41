//! The settings and the sizes of a convolution.

use crate::nn::cpu::matmul::Matrix;
use candle_core::{Result, bail};

/// Stride and padding of a convolution, and the activation fused into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvolutionShape {
    /// Pixels between neighbouring patches, vertically and horizontally.
    pub stride: usize,
    /// Rows of zeros above and below, and columns of zeros left and right.
    pub padding: [usize; 2],
    /// Whether negative results become 0 in the same pass.
    pub relu: bool,
}

/// The operation behind [`super::convolve`].
#[derive(Clone, Copy)]
pub(in crate::nn) struct Convolution(pub(in crate::nn) ConvolutionShape);

/// The sizes of one convolution.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) inputs: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) outputs: usize,
    /// Height and width.
    pub(super) kernel: [usize; 2],
    pub(super) stride: usize,
    /// Rows above and below, columns left and right.
    pub(super) padding: [usize; 2],
    pub(super) relu: bool,
    pub(super) out_height: usize,
    pub(super) out_width: usize,
}

impl Sizes {
    pub(super) fn new(op: Convolution, x: &[usize], weight: &[usize]) -> Result<Self> {
        let (&[batch, inputs, height, width], &[outputs, weight_inputs, kernel_height, kernel_width]) =
            (x, weight)
        else {
            bail!(
                "convolution: the input must be (batch, channels, height, width) and the weight (outputs, inputs, \
                 height, width), not {x:?} and {weight:?}"
            )
        };
        let ConvolutionShape { stride, padding, relu } = op.0;
        let kernel = [kernel_height, kernel_width];
        let fits = |side: usize, i: usize| side + 2 * padding[i] >= kernel[i] && padding[i] < kernel[i];
        if inputs != weight_inputs || !fits(height, 0) || !fits(width, 1) {
            bail!("convolution: weight {weight:?} with padding {padding:?} does not fit input {x:?}");
        }
        let out = |side: usize, i: usize| (side + 2 * padding[i] - kernel[i]) / stride + 1;
        let (out_height, out_width) = (out(height, 0), out(width, 1));
        Ok(Self {
            batch,
            inputs,
            height,
            width,
            outputs,
            kernel,
            stride,
            padding,
            relu,
            out_height,
            out_width,
        })
    }

    /// Output pixels of one image.
    pub(super) fn pixels(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Values of one unrolled patch.
    pub(super) fn patch(&self) -> usize {
        self.inputs * self.area()
    }

    /// Values of a patch in one channel.
    pub(super) fn area(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Values of one input image.
    pub(super) fn image(&self) -> usize {
        self.inputs * self.height * self.width
    }

    /// The columns of the weight for input channels `c0..c1`.
    pub(super) fn weight_of_channels<'a>(&self, weight: &'a [f32], c0: usize, c1: usize) -> Matrix<'a> {
        Matrix::with_stride(&weight[c0 * self.area()..], self.outputs, (c1 - c0) * self.area(), self.patch())
    }

    /// Whether unrolling would only copy the input.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == 1 && self.padding == [0, 0]
    }
}
