//! The code tables of 8-bit moments (Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization"): 256
//! fractions of a block's largest magnitude, dense near 0 ("dynamic tree" data type).

use std::sync::LazyLock;

/// The fractions that the 256 codes stand for, ascending.
#[derive(Debug)]
pub(super) struct CodeTable([f32; 256]);

/// From -1 to 1, for first moments.
pub(super) static SIGNED: LazyLock<CodeTable> = LazyLock::new(|| CodeTable::new(true));
/// From 0 to 1, for second moments.
pub(super) static UNSIGNED: LazyLock<CodeTable> = LazyLock::new(|| CodeTable::new(false));

impl CodeTable {
    /// Seven decades below 1, each cut into equal intervals whose midpoints are the fractions; a decade has twice as
    /// many as the next smaller one (`create_dynamic_map` of bitsandbytes).
    fn new(signed: bool) -> Self {
        let mut fractions = vec![0.0, 1.0];
        for decade in 0..7u32 {
            let intervals = if signed { 1 << decade } else { 2 << decade };
            let edge = |i: i32| 0.1 + 0.9 * f64::from(i) / f64::from(intervals);
            for i in 0..intervals {
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

    /// The fraction that a code stands for.
    pub(super) fn fraction(&self, code: u8) -> f32 {
        self.0[usize::from(code)]
    }

    /// The code of the fraction nearest to `x`, from -1 to 1, among those that do not have the opposite sign.
    pub(super) fn code(&self, x: f32) -> u8 {
        let above = self.0.partition_point(|&fraction| fraction < x).min(255);
        let below = above.saturating_sub(1);
        let nearest = if x - self.0[below] < self.0[above] - x { below } else { above };
        let opposite = self.0[nearest] * x < 0.0;
        // Only the two neighbours of 0 can have the opposite sign; 0 is the next code.
        (if opposite { if x > 0.0 { nearest + 1 } else { nearest - 1 } } else { nearest }) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::{CodeTable, SIGNED, UNSIGNED};

    /// Some entries of the tables of bitsandbytes (oracles/optimizers.py prints them).
    #[test]
    fn tables_are_those_of_bitsandbytes() {
        let ascends = |table: &CodeTable| table.0.windows(2).all(|w| w[0] < w[1]);
        assert!(ascends(&SIGNED) && ascends(&UNSIGNED));
        assert_eq!((SIGNED.0[127], SIGNED.0[255], UNSIGNED.0[0], UNSIGNED.0[255]), (0.0, 1.0, 0.0, 1.0));
        let close = |a: f32, b: f32| (a - b).abs() <= 1e-6 * b.abs();
        assert!(close(SIGNED.0[0], -0.992_968_75), "{}", SIGNED.0[0]);
        assert!(close(SIGNED.0[128], 5.5e-7) && close(UNSIGNED.0[1], 3.25e-7));
        assert!(close(UNSIGNED.0[254], 0.996_484_4), "{}", UNSIGNED.0[254]);
    }

    #[test]
    fn a_code_stands_for_the_nearest_fraction() {
        for table in [&*SIGNED, &*UNSIGNED] {
            for (code, &fraction) in table.0.iter().enumerate() {
                assert_eq!(usize::from(table.code(fraction)), code);
            }
            for i in 0..=2000 {
                let x = i as f32 / 1000.0 - if table.0[0] < 0.0 { 1.0 } else { 0.0 };
                let found = table.fraction(table.code(x));
                let best = table.0.iter().map(|f| (f - x).abs()).fold(f32::INFINITY, f32::min);
                assert!((found - x).abs() <= best + 1e-9, "{x}: {found}");
            }
        }
    }
}
