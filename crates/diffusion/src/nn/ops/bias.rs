//! Addition of a bias to rows and planes. Not differentiable: for the passes of composed operations.

use crate::nn::gpu::availability::is_available;
use crate::nn::gpu::launch::{Launch, Number};
use candle_core::{Result, Tensor};

/// `x`: (rows, width), `bias`: (width).
pub(in crate::nn) fn add_to_rows(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    if !is_available(&[x, bias]) || bias.elem_count() != width {
        return x.broadcast_add(bias);
    }
    let [y] = Launch::per_row("add_to_rows", rows, width, &[x, bias])
        .run([(x.dtype(), x.dims())], &[Number::Whole(width)])?;
    Ok(y)
}

/// `x`: (batch, channels, height, width), `bias`: (channels).
pub(in crate::nn) fn add_to_planes(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    if !is_available(&[x, bias]) || bias.elem_count() != channels {
        return x.broadcast_add(&bias.reshape((1, (), 1, 1))?);
    }
    let pixels = height * width;
    let [y] = Launch::per_row("add_to_planes", batch * channels, pixels, &[x, bias])
        .run([(x.dtype(), x.dims())], &[Number::Whole(pixels), Number::Whole(channels)])?;
    Ok(y)
}
