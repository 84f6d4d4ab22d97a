// Vectors: from the forms in which they travel, and compared.

import { SemserveError } from "./errors.js";
import type { Embedding } from "./gen/semserve/v1/embedding_pb.js";

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/**
 * Gives the cosine of the angle between two vectors, from -1 to 1; 0 where one of them is zero.
 *
 * @throws RangeError the lengths differ.
 */
export function cosine(left: ArrayLike<number>, right: ArrayLike<number>): number {
  if (left.length !== right.length) {
    throw new RangeError(`vectors of ${left.length} and ${right.length} dimensions have no cosine`);
  }
  let dot = 0;
  let leftSquare = 0;
  let rightSquare = 0;
  for (let i = 0; i < left.length; i++) {
    const l = left[i] as number;
    const r = right[i] as number;
    dot += l * r;
    leftSquare += l * l;
    rightSquare += r * r;
  }
  return leftSquare === 0 || rightSquare === 0 ? 0 : dot / Math.sqrt(leftSquare * rightSquare);
}

/**
 * Gives the values of an embedding in whatever form it travelled. The width of a value tells the
 * form, so that an answer is read without its request.
 */
export function unpack(embedding: Pick<Embedding, "values" | "packed" | "dimensions" | "scale">): Float32Array {
  const { values, packed, dimensions } = embedding;
  if (packed.length === 0) {
    return Float32Array.from(values);
  }
  // One copy of the bytes, so that the vector is aligned and does not keep the whole message alive.
  const bytes = Uint8Array.prototype.slice.call(packed);
  switch (packed.length) {
    case 4 * dimensions:
      return LITTLE_ENDIAN ? new Float32Array(bytes.buffer) : swapped(bytes, dimensions);
    case 2 * dimensions: {
      const view = new DataView(bytes.buffer);
      return Float32Array.from({ length: dimensions }, (_, i) => widen(view.getUint16(2 * i, true)));
    }
    case dimensions: {
      const scale = embedding.scale ?? 0;
      return Float32Array.from(new Int8Array(bytes.buffer), (value) => value * scale);
    }
    default:
      throw new SemserveError("INTERNAL", `the server packed ${dimensions} dimensions into ${packed.length} bytes`);
  }
}

/**
 * Turns the bits of an IEEE 754 binary16 into the same number. There are three cases: infinity and
 * NaN, whose exponent is all ones; zero and subnormal numbers, which have no hidden bit; the rest.
 */
export function widen(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) {
    return fraction ? NaN : sign * Infinity;
  }
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function swapped(bytes: Uint8Array, dimensions: number): Float32Array {
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: dimensions }, (_, i) => view.getFloat32(4 * i, true));
}
