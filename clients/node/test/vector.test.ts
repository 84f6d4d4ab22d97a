import { deepStrictEqual, ok, strictEqual, throws } from "node:assert";
import { test } from "node:test";
import { cosine, SemserveError } from "../src/index.js";
import { unpack, widen } from "../src/vector.js";

const none = { values: [], packed: new Uint8Array(), dimensions: 0, scale: 0 };

test("vectors of every form are read", () => {
  deepStrictEqual(Float32Array.of(0.5, -2), unpack({ ...none, values: [0.5, -2] }));
  const float32 = Uint8Array.of(0, 0, 0, 0x3f, 0, 0, 0, 0xc0);
  deepStrictEqual(Float32Array.of(0.5, -2), unpack({ ...none, packed: float32, dimensions: 2 }));
  const float16 = Uint8Array.of(0, 0x38, 0, 0xc0);
  deepStrictEqual(Float32Array.of(0.5, -2), unpack({ ...none, packed: float16, dimensions: 2 }));
  const int8 = Uint8Array.of(127, 0x80);
  deepStrictEqual(Float32Array.of(63.5, -64), unpack({ ...none, packed: int8, dimensions: 2, scale: 0.5 }));
});

test("a vector does not keep or change the message that it came in", () => {
  const message = Buffer.alloc(9); // no multiple of four from its start
  message.writeFloatLE(0.5, 1);
  const vector = unpack({ ...none, packed: message.subarray(1, 5), dimensions: 1 });
  message.fill(0);
  deepStrictEqual(Float32Array.of(0.5), vector);
  strictEqual(4, vector.buffer.byteLength);
});

test("a length that fits no form is the server's fault", () => {
  throws(
    () => unpack({ ...none, packed: new Uint8Array(5), dimensions: 2 }),
    (error) => error instanceof SemserveError && error.code === "INTERNAL",
  );
});

test("halves are widened exactly", () => {
  const known: [number, number][] = [
    [0x0000, 0], [0x8000, -0], [0x0001, 2 ** -24], [0x03ff, 1023 * 2 ** -24], [0x0400, 2 ** -14],
    [0x3c00, 1], [0x3555, 0.333251953125], [0x7bff, 65504], [0xfbff, -65504], [0x7c00, Infinity], [0xfc00, -Infinity],
  ];
  deepStrictEqual(known.map(([, value]) => value), known.map(([bits]) => widen(bits)));
  ok(Number.isNaN(widen(0x7e00)));
});

test("a cosine is of two vectors of one length", () => {
  strictEqual(1, cosine([1, 0], [2, 0]));
  strictEqual(0, cosine([1, 0], [0, 3]));
  strictEqual(0, cosine([0, 0], [1, 1]));
  throws(() => cosine([1], [1, 2]), RangeError);
});
