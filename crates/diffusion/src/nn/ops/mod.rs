//! Operations with gradients. Each is one file, or one folder with a file per implementation (`cpu`, `composed`, `gpu`).

pub(super) mod activation;
pub(super) mod add_channelwise;
pub(super) mod attention;
pub(super) mod bias;
pub(super) mod convolution;
pub(super) mod exchange;
pub(super) mod geglu;
pub(super) mod group_norm;
pub(super) mod layer_norm;
pub(super) mod linear;
mod normalise;
pub(super) mod residual;
pub(super) mod squared_sums;
pub(super) mod sums;
pub(super) mod transpose;
pub(super) mod upsample;
