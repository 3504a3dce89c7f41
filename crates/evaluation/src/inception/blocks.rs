//! The blocks A to E of Inception, as torchvision names them: parallel branches, concatenated along the channels.

use super::pool::{Pool, pool};
use super::unit::{Unit, chain};
use candle_core::Tensor;
use diffusion::Result;
use diffusion::weights::Scope;

/// Concatenates the outputs of branches along the channels.
fn join(branches: &[Tensor]) -> Result<Tensor> {
    Ok(Tensor::cat(branches, 1)?)
}

/// At 35 x 35: branches of 1 x 1, 5 x 5, two 3 x 3, and a pool.
#[derive(Debug)]
pub(super) struct BlockA {
    plain: Unit,
    five: [Unit; 2],
    double_three: [Unit; 3],
    pooled: Unit,
}

impl BlockA {
    pub(super) fn new(scope: &Scope<'_>, inputs: usize, pooled: usize) -> Result<Self> {
        Ok(Self {
            plain: Unit::pointwise(&scope.at("branch1x1"), inputs, 64)?,
            five: [
                Unit::pointwise(&scope.at("branch5x5_1"), inputs, 48)?,
                Unit::same(&scope.at("branch5x5_2"), 48, 64, [5, 5])?,
            ],
            double_three: [
                Unit::pointwise(&scope.at("branch3x3dbl_1"), inputs, 64)?,
                Unit::same(&scope.at("branch3x3dbl_2"), 64, 96, [3, 3])?,
                Unit::same(&scope.at("branch3x3dbl_3"), 96, 96, [3, 3])?,
            ],
            pooled: Unit::pointwise(&scope.at("branch_pool"), inputs, pooled)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        join(&[
            self.plain.forward(x)?,
            chain(&self.five, x)?,
            chain(&self.double_three, x)?,
            self.pooled.forward(&pool(x, Pool::Average)?)?,
        ])
    }
}

/// From 35 x 35 to 17 x 17.
#[derive(Debug)]
pub(super) struct BlockB {
    three: Unit,
    double_three: [Unit; 3],
}

impl BlockB {
    pub(super) fn new(scope: &Scope<'_>, inputs: usize) -> Result<Self> {
        Ok(Self {
            three: Unit::halving(&scope.at("branch3x3"), inputs, 384)?,
            double_three: [
                Unit::pointwise(&scope.at("branch3x3dbl_1"), inputs, 64)?,
                Unit::same(&scope.at("branch3x3dbl_2"), 64, 96, [3, 3])?,
                Unit::halving(&scope.at("branch3x3dbl_3"), 96, 96)?,
            ],
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        join(&[self.three.forward(x)?, chain(&self.double_three, x)?, pool(x, Pool::Reduce)?])
    }
}

/// At 17 x 17: 7 x 7 kernels factored into 1 x 7 and 7 x 1.
#[derive(Debug)]
pub(super) struct BlockC {
    plain: Unit,
    seven: [Unit; 3],
    double_seven: [Unit; 5],
    pooled: Unit,
}

const ROW: [usize; 2] = [1, 7];
const COLUMN: [usize; 2] = [7, 1];

impl BlockC {
    pub(super) fn new(scope: &Scope<'_>, inputs: usize, width: usize) -> Result<Self> {
        Ok(Self {
            plain: Unit::pointwise(&scope.at("branch1x1"), inputs, 192)?,
            seven: [
                Unit::pointwise(&scope.at("branch7x7_1"), inputs, width)?,
                Unit::same(&scope.at("branch7x7_2"), width, width, ROW)?,
                Unit::same(&scope.at("branch7x7_3"), width, 192, COLUMN)?,
            ],
            double_seven: [
                Unit::pointwise(&scope.at("branch7x7dbl_1"), inputs, width)?,
                Unit::same(&scope.at("branch7x7dbl_2"), width, width, COLUMN)?,
                Unit::same(&scope.at("branch7x7dbl_3"), width, width, ROW)?,
                Unit::same(&scope.at("branch7x7dbl_4"), width, width, COLUMN)?,
                Unit::same(&scope.at("branch7x7dbl_5"), width, 192, ROW)?,
            ],
            pooled: Unit::pointwise(&scope.at("branch_pool"), inputs, 192)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        join(&[
            self.plain.forward(x)?,
            chain(&self.seven, x)?,
            chain(&self.double_seven, x)?,
            self.pooled.forward(&pool(x, Pool::Average)?)?,
        ])
    }
}

/// From 17 x 17 to 8 x 8.
#[derive(Debug)]
pub(super) struct BlockD {
    three: [Unit; 2],
    seven_three: [Unit; 4],
}

impl BlockD {
    pub(super) fn new(scope: &Scope<'_>, inputs: usize) -> Result<Self> {
        Ok(Self {
            three: [
                Unit::pointwise(&scope.at("branch3x3_1"), inputs, 192)?,
                Unit::halving(&scope.at("branch3x3_2"), 192, 320)?,
            ],
            seven_three: [
                Unit::pointwise(&scope.at("branch7x7x3_1"), inputs, 192)?,
                Unit::same(&scope.at("branch7x7x3_2"), 192, 192, ROW)?,
                Unit::same(&scope.at("branch7x7x3_3"), 192, 192, COLUMN)?,
                Unit::halving(&scope.at("branch7x7x3_4"), 192, 192)?,
            ],
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        join(&[chain(&self.three, x)?, chain(&self.seven_three, x)?, pool(x, Pool::Reduce)?])
    }
}

/// At 8 x 8: 1 x 3 and 3 x 1 kernels in parallel.
#[derive(Debug)]
pub(super) struct BlockE {
    plain: Unit,
    three: Unit,
    three_split: [Unit; 2],
    double_three: [Unit; 2],
    double_split: [Unit; 2],
    pooled: Unit,
    pool: Pool,
}

impl BlockE {
    pub(super) fn new(scope: &Scope<'_>, inputs: usize, pool: Pool) -> Result<Self> {
        let split = |name: &str| -> Result<[Unit; 2]> {
            Ok([
                Unit::same(&scope.at(format!("{name}a")), 384, 384, [1, 3])?,
                Unit::same(&scope.at(format!("{name}b")), 384, 384, [3, 1])?,
            ])
        };
        Ok(Self {
            plain: Unit::pointwise(&scope.at("branch1x1"), inputs, 320)?,
            three: Unit::pointwise(&scope.at("branch3x3_1"), inputs, 384)?,
            three_split: split("branch3x3_2")?,
            double_three: [
                Unit::pointwise(&scope.at("branch3x3dbl_1"), inputs, 448)?,
                Unit::same(&scope.at("branch3x3dbl_2"), 448, 384, [3, 3])?,
            ],
            double_split: split("branch3x3dbl_3")?,
            pooled: Unit::pointwise(&scope.at("branch_pool"), inputs, 192)?,
            pool,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let three = self.three.forward(x)?;
        let double = chain(&self.double_three, x)?;
        let [three_row, three_column] = &self.three_split;
        let [double_row, double_column] = &self.double_split;
        join(&[
            self.plain.forward(x)?,
            three_row.forward(&three)?,
            three_column.forward(&three)?,
            double_row.forward(&double)?,
            double_column.forward(&double)?,
            self.pooled.forward(&pool(x, self.pool)?)?,
        ])
    }
}
