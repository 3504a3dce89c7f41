//! The moments of AdamW between updates: in f32, in bf16, or in 8 bits per value.
//!
//! bf16 moments are rounded stochastically: up or down, with probabilities proportional to the distances. Rounded to
//! nearest they would stop changing, because an update changes a second moment by a thousandth and bf16 has two to
//! three decimal digits. The random bits are a pure function of parameter, update and element, so a resumed run repeats
//! them.
//!
//! 8-bit moments are those of bitsandbytes: a block of 256 values is kept as its largest magnitude in f32 and one code
//! per value (`code_table`). As there, parameters with fewer than 4096 values keep f32 moments.

use super::code_table::{CodeTable, SIGNED, UNSIGNED};
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use domain::train::Moments as Width;
use half::bf16;
use std::collections::BTreeMap;

/// Values per block of 8-bit moments.
const BLOCK: usize = 256;
/// Parameters with fewer values keep f32 moments instead of 8-bit ones.
const SMALLEST_8BIT: usize = 4096;
/// Values per chunk, the unit of parallel updates. A multiple of [`BLOCK`].
pub(super) const CHUNK: usize = 1 << 14;

/// One moment (first or second) of one parameter.
#[derive(Debug)]
pub(super) enum Moment {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    /// One code per value, one largest magnitude per block.
    Int8 {
        codes: Vec<u8>,
        largest: Vec<f32>,
        table: &'static CodeTable,
    },
}

/// A chunk of a moment, to be read and written.
pub(super) enum MomentChunk<'a> {
    F32(&'a mut [f32]),
    Bf16(&'a mut [bf16]),
    Int8 { codes: &'a mut [u8], largest: &'a mut [f32], table: &'static CodeTable },
}

impl Moment {
    /// Zeros. `signed` moments may be negative: first moments.
    pub(super) fn zeros(width: Width, count: usize, signed: bool) -> Self {
        match width {
            Width::Bf16 => Self::Bf16(vec![bf16::ZERO; count]),
            Width::Int8 if count >= SMALLEST_8BIT => {
                let table: &CodeTable = if signed { &SIGNED } else { &UNSIGNED };
                let (codes, largest) = (vec![table.code(0.0); count], vec![0.0; count.div_ceil(BLOCK)]);
                Self::Int8 { codes, largest, table }
            }
            Width::F32 | Width::Int8 => Self::F32(vec![0.0; count]),
        }
    }

    /// The moment in chunks of [`CHUNK`] values.
    pub(super) fn chunks(&mut self) -> Vec<MomentChunk<'_>> {
        match self {
            Self::F32(values) => values.chunks_mut(CHUNK).map(MomentChunk::F32).collect(),
            Self::Bf16(values) => values.chunks_mut(CHUNK).map(MomentChunk::Bf16).collect(),
            Self::Int8 { codes, largest, table } => codes
                .chunks_mut(CHUNK)
                .zip(largest.chunks_mut(CHUNK / BLOCK))
                .map(|(codes, largest)| MomentChunk::Int8 { codes, largest, table })
                .collect(),
        }
    }

    /// Adds the moment to the tensors of a saved state, as `name` and, for 8 bits, also `name.largest`.
    pub(super) fn save(&self, name: String, state: &mut BTreeMap<String, Tensor>) -> Result<()> {
        let tensor = match self {
            Self::F32(values) => Tensor::from_slice(values, values.len(), &Device::Cpu)?,
            Self::Bf16(values) => Tensor::from_slice(values, values.len(), &Device::Cpu)?,
            Self::Int8 { codes, largest, .. } => {
                let largest = Tensor::from_slice(largest, largest.len(), &Device::Cpu)?;
                state.insert(format!("{name}.largest"), largest);
                Tensor::from_slice(codes, codes.len(), &Device::Cpu)?
            }
        };
        state.insert(name, tensor);
        Ok(())
    }

    /// Restores what [`Moment::save`] saved under `name`.
    pub(super) fn restore(&mut self, name: &str, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let get = |name: &str, count: usize| {
            let saved = state.get(name).with_context(|| format!("the saved state has no tensor {name}"))?;
            let found = saved.elem_count();
            ensure!(found == count, "the saved tensor {name} has {found} values instead of {count}");
            Ok(saved)
        };
        match self {
            Self::F32(values) => *values = get(name, values.len())?.to_vec1()?,
            Self::Bf16(values) => *values = get(name, values.len())?.to_vec1()?,
            Self::Int8 { codes, largest, .. } => {
                *largest = get(&format!("{name}.largest"), largest.len())?.to_vec1()?;
                *codes = get(name, codes.len())?.to_vec1()?;
            }
        }
        Ok(())
    }
}

impl MomentChunk<'_> {
    /// Converts the chunk to f32. `values` has its length.
    pub(super) fn read(&self, values: &mut [f32]) {
        match self {
            Self::F32(from) => values.copy_from_slice(from),
            Self::Bf16(from) => values.iter_mut().zip(from.iter()).for_each(|(v, from)| *v = from.to_f32()),
            Self::Int8 { codes, largest, table } => {
                let blocks = values.chunks_mut(BLOCK).zip(codes.chunks(BLOCK)).zip(largest.iter());
                for ((values, codes), largest) in blocks {
                    values.iter_mut().zip(codes).for_each(|(v, &code)| *v = table.fraction(code) * largest);
                }
            }
        }
    }

    /// Replaces the chunk by these values. `random_bits` of an element decide how bf16 rounds it.
    pub(super) fn write(&mut self, values: &[f32], random_bits: impl Fn(usize) -> u32) {
        match self {
            Self::F32(to) => to.copy_from_slice(values),
            Self::Bf16(to) => {
                for (i, (to, &v)) in to.iter_mut().zip(values).enumerate() {
                    *to = round_stochastically(v, random_bits(i));
                }
            }
            Self::Int8 { codes, largest, table } => {
                let blocks = values.chunks(BLOCK).zip(codes.chunks_mut(BLOCK)).zip(largest.iter_mut());
                for ((values, codes), largest) in blocks {
                    *largest = values.iter().fold(0.0, |a, v| a.max(v.abs()));
                    let scale = if *largest > 0.0 { 1.0 / *largest } else { 0.0 };
                    codes.iter_mut().zip(values).for_each(|(c, v)| *c = table.code(v * scale));
                }
            }
        }
    }
}

/// One of the two bf16 numbers around `x`, chosen by the lower 16 of `random_bits`.
fn round_stochastically(x: f32, random_bits: u32) -> bf16 {
    bf16::from_bits((x.to_bits().wrapping_add(random_bits & 0xffff) >> 16) as u16)
}

/// 32 random bits: a hash (the finaliser of SplitMix64) of parameter, update and element.
pub(super) fn random_bits(salt: u64, update: u64, element: usize) -> u32 {
    let mut z = salt
        .wrapping_add(update.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add((element as u64).wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as u32
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Moment, random_bits};
    use domain::train::Moments as Width;
    use std::collections::BTreeMap;

    /// `values` written and read back; the same when the moment is saved and restored in between.
    fn round_trip(width: Width, values: &[f32], update: u64) -> Vec<f32> {
        let mut moment = Moment::zeros(width, values.len(), true);
        let mut read = vec![0.0; values.len()];
        for chunk in &mut moment.chunks() {
            chunk.write(values, |i| random_bits(7, update, i));
            chunk.read(&mut read);
        }
        let mut saved = BTreeMap::new();
        moment.save("m".to_owned(), &mut saved).expect("saved");
        let mut again = Moment::zeros(width, values.len(), true);
        again.restore("m", &saved).expect("restored");
        let mut restored = vec![0.0; values.len()];
        again.chunks().iter().for_each(|chunk| chunk.read(&mut restored));
        assert_eq!(read, restored);
        read
    }

    #[test]
    fn moments_keep_values_within_their_precision() {
        let values: Vec<f32> = (0..16 * BLOCK).map(|i| ((i * 37 % 4096) as f32 - 2000.0) * 1e-4).collect();
        for (width, tolerance) in [(Width::F32, 0.0), (Width::Bf16, 1.0 / 128.0)] {
            for (kept, v) in round_trip(width, &values, 1).iter().zip(&values) {
                assert!((kept - v).abs() <= tolerance * v.abs(), "{v}: {kept}");
            }
        }
        for (kept, v) in round_trip(Width::Int8, &values, 1).iter().zip(&values) {
            // Half an interval. No value exceeds 0.21; the decade below that has 64 intervals, the next 32.
            let interval = if v.abs() > 0.02 { 0.21 * 0.9 / 64.0 } else { 0.021 * 0.9 / 32.0 };
            assert!((kept - v).abs() <= 0.51 * interval, "{v}: {kept}");
        }
        assert_eq!(round_trip(Width::Int8, &[0.0; 4096], 1), [0.0; 4096]);
    }

    /// A decay of 0.999 is below the resolution of bf16: rounded to nearest, 1 would stay 1.
    #[test]
    fn bf16_moments_follow_changes_below_their_resolution() {
        let mut values = vec![1.0f32; 4096];
        for update in 0..500 {
            let decayed: Vec<f32> = values.iter().map(|v| v * 0.999).collect();
            values = round_trip(Width::Bf16, &decayed, update);
        }
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 0.999f32.powi(500)).abs() < 3e-3, "{mean}");
    }
}
