//! The types of elements that weights may have, and their values in `f32`.

use ::safetensors::Dtype;
use half::{bf16, f16};

/// Appends little-endian values, converted to `f32`.
pub(super) type Widen = fn(&[u8], &mut Vec<f32>);

/// The conversion of a type to `f32`, which is exact except for `f64`; `None` for types that weights do not have.
pub(super) fn widen(dtype: Dtype) -> Option<Widen> {
    Some(match dtype {
        Dtype::F32 => |bytes, values| extend(bytes, values, f32::from_le_bytes),
        Dtype::F64 => |bytes, values| extend(bytes, values, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => |bytes, values| extend(bytes, values, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => |bytes, values| extend(bytes, values, |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F8_E4M3 => |bytes, values| extend(bytes, values, |[b]| F8_E4M3[usize::from(b)]),
        Dtype::F8_E5M2 => |bytes, values| extend(bytes, values, |[b]| f8_e5m2(b)),
        _ => return None,
    })
}

/// What is wrong with a tensor of this type as a weight, as the rest of a sentence that begins with the tensor; `None` if
/// nothing is.
#[must_use]
pub fn type_problem(dtype: Dtype) -> Option<String> {
    if widen(dtype).is_some() {
        return None;
    }
    let kind = match dtype {
        Dtype::BOOL => "which is not a number",
        Dtype::I8 | Dtype::U8 => "an integer, as in quantised weights",
        Dtype::C64 => "which is complex",
        Dtype::I16 | Dtype::I32 | Dtype::I64 | Dtype::U16 | Dtype::U32 | Dtype::U64 => "an integer",
        _ => "which is not supported",
    };
    Some(format!(
        "has type {dtype}, {kind}: weights must be F64, F32, F16, BF16, F8_E4M3 or F8_E5M2; take a version of the file in \
         one of these types"
    ))
}

fn extend<const N: usize>(bytes: &[u8], values: &mut Vec<f32>, value: impl Fn([u8; N]) -> f32) {
    values.extend(bytes.as_chunks::<N>().0.iter().map(|&bytes| value(bytes)));
}

/// The values of torch's `float8_e4m3fn` by their bits.
static F8_E4M3: [f32; 256] = {
    let mut values = [0.0; 256];
    let mut bits = 0;
    while bits < 256 {
        values[bits] = f8_e4m3(bits as u8);
        bits += 1;
    }
    values
};

/// A sign, 4 bits of exponent with bias 7, and 3 of mantissa. It has no infinities; the largest magnitude stands for NaN.
const fn f8_e4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = ((bits >> 3) & 0xf, bits & 0x7);
    let magnitude = match (exponent, mantissa) {
        (0xf, 0x7) => f32::NAN,
        // Subnormal: multiples of 2^-9.
        (0, _) => mantissa as f32 / 512.0,
        // The exponent of f32 has bias 127, its mantissa 23 bits.
        _ => f32::from_bits(((exponent as u32 + 127 - 7) << 23) | ((mantissa as u32) << 20)),
    };
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

/// torch's `float8_e5m2`: the upper half of an f16.
fn f8_e5m2(bits: u8) -> f32 {
    f16::from_bits(u16::from(bits) << 8).to_f32()
}
