//! How AdamW keeps a moment between updates: in f32, in bf16, or in 8 bits by blocks.
//!
//! In bf16 a moment is rounded up or down by chance, in proportion to how near each neighbour is. Rounded to the
//! nearest it would stand still: an update changes a second moment by a thousandth, and bf16 has two to three digits.
//! The chance is a pure function of parameter, update and element, so that a resumed run repeats an undisturbed one.
//!
//! The 8 bits are those of bitsandbytes (Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization"): the
//! largest magnitude of each block of 256 values in f32, and for each value the nearest of 256 fractions of it, which
//! are dense near 0 ("dynamic tree" data type). Parameters of fewer than 4096 values keep f32, as there.

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use domain::train::Moments as Width;
use half::bf16;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Values that share a largest magnitude.
const BLOCK: usize = 256;
/// Parameters with fewer values keep f32 moments where 8 bits are asked for.
const SMALLEST: usize = 4096;
/// Values that one task updates: whole blocks.
pub(super) const CHUNK: usize = 1 << 14;

/// One moment of one parameter.
#[derive(Debug)]
pub(super) enum Moment {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    Int8 { codes: Vec<u8>, largest: Vec<f32>, table: &'static Table },
}

/// A chunk of a moment.
pub(super) enum Part<'a> {
    F32(&'a mut [f32]),
    Bf16(&'a mut [bf16]),
    Int8 { codes: &'a mut [u8], largest: &'a mut [f32], table: &'static Table },
}

impl Moment {
    /// Zeros. `signed`: whether values may be negative.
    pub(super) fn zeros(width: Width, count: usize, signed: bool) -> Self {
        match width {
            Width::Bf16 => Self::Bf16(vec![bf16::ZERO; count]),
            Width::Int8 if count >= SMALLEST => {
                let table: &Table = if signed { &SIGNED } else { &UNSIGNED };
                let (codes, largest) = (vec![table.code(0.0); count], vec![0.0; count.div_ceil(BLOCK)]);
                Self::Int8 { codes, largest, table }
            }
            Width::F32 | Width::Int8 => Self::F32(vec![0.0; count]),
        }
    }

    /// In parts of [`CHUNK`] values.
    pub(super) fn parts(&mut self) -> Vec<Part<'_>> {
        match self {
            Self::F32(values) => values.chunks_mut(CHUNK).map(Part::F32).collect(),
            Self::Bf16(values) => values.chunks_mut(CHUNK).map(Part::Bf16).collect(),
            Self::Int8 { codes, largest, table } => codes
                .chunks_mut(CHUNK)
                .zip(largest.chunks_mut(CHUNK / BLOCK))
                .map(|(codes, largest)| Part::Int8 { codes, largest, table })
                .collect(),
        }
    }

    /// Puts what is to be saved into `state`, as `name` and, for 8 bits, `name.largest`.
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

    /// Takes up what [`Moment::save`] saved.
    pub(super) fn restore(&mut self, name: &str, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let get = |name: &str, count: usize| {
            let saved = state.get(name).with_context(|| format!("the saved state lacks {name}"))?;
            ensure!(saved.elem_count() == count, "the saved {name} has another size");
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

impl Part<'_> {
    /// The values, into a buffer of as many.
    pub(super) fn read(&self, values: &mut [f32]) {
        match self {
            Self::F32(from) => values.copy_from_slice(from),
            Self::Bf16(from) => values.iter_mut().zip(from.iter()).for_each(|(v, from)| *v = from.to_f32()),
            Self::Int8 { codes, largest, table } => {
                let blocks = values.chunks_mut(BLOCK).zip(codes.chunks(BLOCK)).zip(largest.iter());
                for ((values, codes), largest) in blocks {
                    values.iter_mut().zip(codes).for_each(|(v, &c)| *v = table.0[usize::from(c)] * largest);
                }
            }
        }
    }

    /// Keeps these values; `dice` gives a random number for each of them.
    pub(super) fn write(&mut self, values: &[f32], dice: impl Fn(usize) -> u32) {
        match self {
            Self::F32(to) => to.copy_from_slice(values),
            Self::Bf16(to) => {
                for (i, (to, &v)) in to.iter_mut().zip(values).enumerate() {
                    *to = round_by_chance(v, dice(i));
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

/// One of the two bf16 numbers around `x`, by the lower 16 bits of `dice`.
fn round_by_chance(x: f32, dice: u32) -> bf16 {
    bf16::from_bits((x.to_bits().wrapping_add(dice & 0xffff) >> 16) as u16)
}

/// A random number of (parameter and moment, update, element): SplitMix64's last mix.
pub(super) fn dice(salt: u64, update: u64, element: usize) -> u32 {
    let mut z = salt
        .wrapping_add(update.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add((element as u64).wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as u32
}

/// The fractions that 8 bits stand for, rising.
#[derive(Debug)]
pub(super) struct Table([f32; 256]);

static SIGNED: LazyLock<Table> = LazyLock::new(|| Table::new(true));
static UNSIGNED: LazyLock<Table> = LazyLock::new(|| Table::new(false));

impl Table {
    /// Seven decades below 1; in each the middles of equal parts, twice as many from decade to decade (bitsandbytes'
    /// `create_dynamic_map`).
    fn new(signed: bool) -> Self {
        let mut fractions = vec![0.0, 1.0];
        for decade in 0..7u32 {
            let parts = if signed { 1 << decade } else { 2 << decade };
            let edge = |i: i32| 0.1 + 0.9 * f64::from(i) / f64::from(parts);
            for i in 0..parts {
                let middle = f64::midpoint(edge(i), edge(i + 1)) * 10f64.powi(decade as i32 - 6);
                fractions.push(middle as f32);
                if signed {
                    fractions.push(-middle as f32);
                }
            }
        }
        fractions.sort_by(f32::total_cmp);
        let mut table = [0.0; 256];
        table.copy_from_slice(&fractions);
        Self(table)
    }

    /// The code of the nearest fraction that has not the other sign.
    fn code(&self, x: f32) -> u8 {
        let above = self.0.partition_point(|&fraction| fraction < x).min(255);
        let below = above.saturating_sub(1);
        let nearest = if x - self.0[below] < self.0[above] - x { below } else { above };
        let wrong_sign = self.0[nearest] * x < 0.0;
        // Only the neighbours of 0 can have it: 0 is next to them.
        (if wrong_sign { if x > 0.0 { nearest + 1 } else { nearest - 1 } } else { nearest }) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Moment, SIGNED, Table, UNSIGNED, dice};
    use domain::train::Moments as Width;
    use std::collections::BTreeMap;

    /// bitsandbytes' own tables, at some places (oracles/optimizers.py prints them).
    #[test]
    fn tables_are_those_of_bitsandbytes() {
        let counts = |table: &Table| table.0.windows(2).all(|w| w[0] < w[1]);
        assert!(counts(&SIGNED) && counts(&UNSIGNED));
        assert_eq!((SIGNED.0[127], SIGNED.0[255], UNSIGNED.0[0], UNSIGNED.0[255]), (0.0, 1.0, 0.0, 1.0));
        let close = |a: f32, b: f32| (a - b).abs() <= 1e-6 * b.abs();
        assert!(close(SIGNED.0[0], -0.992_968_75), "{}", SIGNED.0[0]);
        assert!(close(SIGNED.0[128], 5.5e-7) && close(UNSIGNED.0[1], 3.25e-7));
        assert!(close(UNSIGNED.0[254], 0.996_484_4), "{}", UNSIGNED.0[254]);
    }

    #[test]
    fn a_code_is_the_nearest_fraction() {
        for table in [&*SIGNED, &*UNSIGNED] {
            for (code, &fraction) in table.0.iter().enumerate() {
                assert_eq!(usize::from(table.code(fraction)), code);
            }
            for i in 0..=2000 {
                let x = i as f32 / 1000.0 - if table.0[0] < 0.0 { 1.0 } else { 0.0 };
                let found = table.0[usize::from(table.code(x))];
                let best = table.0.iter().map(|f| (f - x).abs()).fold(f32::INFINITY, f32::min);
                assert!((found - x).abs() <= best + 1e-9, "{x}: {found}");
            }
        }
    }

    fn kept(width: Width, values: &[f32], update: u64) -> Vec<f32> {
        let mut moment = Moment::zeros(width, values.len(), true);
        let mut read = vec![0.0; values.len()];
        for part in &mut moment.parts() {
            part.write(values, |i| dice(7, update, i));
            part.read(&mut read);
        }
        let mut saved = BTreeMap::new();
        moment.save("m".to_owned(), &mut saved).expect("saved");
        let mut again = Moment::zeros(width, values.len(), true);
        again.restore("m", &saved).expect("restored");
        let mut restored = vec![0.0; values.len()];
        again.parts().iter().for_each(|part| part.read(&mut restored));
        assert_eq!(read, restored);
        read
    }

    /// What is kept is near what was given, and what is saved is what was kept.
    #[test]
    fn moments_are_kept_and_restored() {
        let values: Vec<f32> = (0..16 * BLOCK).map(|i| ((i * 37 % 4096) as f32 - 2000.0) * 1e-4).collect();
        for (width, off) in [(Width::F32, 0.0), (Width::Bf16, 1.0 / 128.0)] {
            for (kept, v) in kept(width, &values, 1).iter().zip(&values) {
                assert!((kept - v).abs() <= off * v.abs(), "{v}: {kept}");
            }
        }
        for (kept, v) in kept(Width::Int8, &values, 1).iter().zip(&values) {
            // Half a part: no value is larger than 0.21, whose last decade has 64 of them and the one before 32.
            let part = if v.abs() > 0.02 { 0.21 * 0.9 / 64.0 } else { 0.021 * 0.9 / 32.0 };
            assert!((kept - v).abs() <= 0.51 * part, "{v}: {kept}");
        }
        assert_eq!(kept(Width::Int8, &[0.0; 4096], 1), [0.0; 4096]);
    }

    /// Rounded to the nearest, this number would stay what it is for ever; by chance it decays as it should.
    #[test]
    fn bf16_moments_move_by_less_than_a_digit() {
        let mut values = vec![1.0f32; 4096];
        for update in 0..500 {
            let decayed: Vec<f32> = values.iter().map(|v| v * 0.999).collect();
            values = kept(Width::Bf16, &decayed, update);
        }
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 0.999f32.powi(500)).abs() < 3e-3, "{mean}");
    }
}
