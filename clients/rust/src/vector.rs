//! Vectors: how they travel, and how two of them are compared.

use tonic::Code;

use crate::v1;
use crate::{Error, VectorEncoding};

/// The cosine of the angle between two vectors, from -1 to 1; 0 where one of them is zero.
///
/// # Panics
///
/// The vectors differ in length.
pub fn cosine(left: &[f32], right: &[f32]) -> f64 {
    assert_eq!(left.len(), right.len(), "vectors of different lengths have no cosine");
    let (mut dot, mut left_square, mut right_square) = (0.0, 0.0, 0.0);
    for (&l, &r) in left.iter().zip(right) {
        let (l, r) = (f64::from(l), f64::from(r));
        dot += l * r;
        left_square += l * l;
        right_square += r * r;
    }
    if left_square == 0.0 || right_square == 0.0 {
        return 0.0;
    }
    dot / (left_square * right_square).sqrt()
}

/// The values of an embedding in whatever form it travelled. Packed float32 values, the default of the
/// client, are moved as one block.
pub(crate) fn unpack(embedding: v1::Embedding) -> Result<Vec<f32>, Error> {
    let dimensions = usize::try_from(embedding.dimensions).unwrap_or(0);
    let packed = &embedding.packed;
    let width = match embedding.encoding() {
        VectorEncoding::Float32 => 4,
        VectorEncoding::Float16 => 2,
        VectorEncoding::Int8 => 1,
        VectorEncoding::Unspecified | VectorEncoding::Values => return Ok(embedding.values),
    };
    if packed.len() != width * dimensions {
        let told = format!("the server packed {dimensions} dimensions into {} bytes", packed.len());
        return Err(Error::new(Code::Internal, told));
    }
    Ok(match width {
        4 if cfg!(target_endian = "little") => bytemuck::pod_collect_to_vec(packed),
        4 => packed.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        2 => packed.chunks_exact(2).map(|b| widen(u16::from_le_bytes([b[0], b[1]]))).collect(),
        _ => packed.iter().map(|&b| embedding.scale() * f32::from(b.cast_signed())).collect(),
    })
}

/// The number whose IEEE 754 binary16 bits are given. There are three cases: infinity and NaN, whose
/// exponent is all ones; zero and subnormal numbers, which have no hidden bit; and the rest, whose
/// exponent moves from a bias of 15 to one of 127.
fn widen(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10) & 0x1f;
    let fraction = u32::from(half) & 0x3ff;
    match exponent {
        0x1f => f32::from_bits(sign | 0xff << 23 | fraction << 13),
        0 => f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
        _ => f32::from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(encoding: VectorEncoding, dimensions: i32, bytes: Vec<u8>) -> v1::Embedding {
        v1::Embedding {
            packed: bytes.into(),
            dimensions,
            scale: Some(0.5),
            encoding: encoding.into(),
            ..Default::default()
        }
    }

    #[test]
    fn every_encoding_gives_the_same_numbers() {
        let expected = vec![1.0, -0.5, 0.0];
        let floats = expected.iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
        let halves = [0x3c00_u16, 0xb800, 0].iter().flat_map(|half| half.to_le_bytes()).collect();
        for embedding in [
            v1::Embedding { values: expected.clone(), ..Default::default() },
            packed(VectorEncoding::Float32, 3, floats),
            packed(VectorEncoding::Float16, 3, halves),
            packed(VectorEncoding::Int8, 3, vec![2, 255, 0]),
        ] {
            assert_eq!(expected, unpack(embedding).unwrap());
        }
    }

    #[test]
    fn bytes_that_do_not_fit_the_dimensions_are_the_servers_fault() {
        for bytes in [0, 11, 13] {
            let embedding = packed(VectorEncoding::Float32, 3, vec![0; bytes]);
            assert_eq!(Code::Internal, unpack(embedding).unwrap_err().code());
        }
    }

    #[test]
    fn half_precision_is_widened_in_all_its_cases() {
        for (half, expected) in [
            (0x7bff, 65504.0),
            (0x0400, 2f32.powi(-14)),
            (0x0001, 2f32.powi(-24)),
            (0x83ff, -1023.0 * 2f32.powi(-24)),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(expected, widen(half));
        }
        assert!(widen(0x7e00).is_nan());
        assert!(widen(0x8000).is_sign_negative());
    }

    #[test]
    fn cosine_is_of_the_angle_alone() {
        assert_eq!(1.0, cosine(&[1.0, 0.0], &[3.0, 0.0]));
        assert_eq!(-1.0, cosine(&[1.0, 0.0], &[-3.0, 0.0]));
        assert_eq!(0.0, cosine(&[1.0, 0.0], &[0.0, 0.0]));
    }

    #[test]
    #[should_panic(expected = "different lengths")]
    fn vectors_of_different_lengths_have_no_cosine() {
        cosine(&[1.0], &[1.0, 2.0]);
    }
}
