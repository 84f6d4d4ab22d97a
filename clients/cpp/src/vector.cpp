#include "vector.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "semserve/results.h"

namespace semserve {
namespace {

bool is_little_endian() {
  const std::uint16_t one = 1;
  unsigned char first;
  std::memcpy(&first, &one, 1);
  return first == 1;
}

// The value of so many little-endian bytes.
std::uint32_t little(const char* bytes, int width) {
  std::uint32_t value = 0;
  for (int place = 0; place < width; ++place) {
    value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[place])) << (8 * place);
  }
  return value;
}

float float_of(std::uint32_t bits) {
  static_assert(std::numeric_limits<float>::is_iec559 && sizeof(float) == 4, "floats are IEEE 754 binary32");
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

int width_of(v1::VectorEncoding encoding) {
  switch (encoding) {
    case v1::VECTOR_ENCODING_FLOAT32: return 4;
    case v1::VECTOR_ENCODING_FLOAT16: return 2;
    case v1::VECTOR_ENCODING_INT8: return 1;
    default: return 0;
  }
}

}  // namespace

double cosine(const std::vector<float>& left, const std::vector<float>& right) {
  if (left.size() != right.size()) throw std::invalid_argument("vectors of different lengths have no cosine");
  double dot = 0, left_square = 0, right_square = 0;
  for (std::size_t place = 0; place < left.size(); ++place) {
    const double l = left[place], r = right[place];
    dot += l * r;
    left_square += l * l;
    right_square += r * r;
  }
  return left_square == 0 || right_square == 0 ? 0 : dot / std::sqrt(left_square * right_square);
}

// There are three cases: infinity and NaN, whose exponent is all ones; zero and subnormal numbers, which have no
// hidden bit; and the rest, whose exponent moves from a bias of 15 to one of 127.
float widen(unsigned half) {
  const std::uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
  if (exponent == 0x1f) return float_of(sign | 0xffu << 23 | fraction << 13);
  if (exponent == 0) return std::copysign(std::ldexp(static_cast<float>(fraction), -24), sign ? -1.f : 1.f);
  return float_of(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

std::vector<float> unpack(const v1::Embedding& embedding) {
  const int width = width_of(embedding.encoding());
  if (width == 0) return {embedding.values().begin(), embedding.values().end()};
  const auto& packed = embedding.packed();
  const auto dimensions = static_cast<std::size_t>(std::max(embedding.dimensions(), 0));
  if (packed.size() != width * dimensions) {
    throw Error(StatusCode::INTERNAL, "the server packed " + std::to_string(dimensions) + " dimensions into " +
                                          std::to_string(packed.size()) + " bytes");
  }
  std::vector<float> vector(dimensions);
  if (width == 4 && is_little_endian()) {
    if (dimensions > 0) std::memcpy(vector.data(), packed.data(), packed.size());
    return vector;
  }
  for (std::size_t place = 0; place < dimensions; ++place) {
    const auto bits = little(packed.data() + place * width, width);
    vector[place] = width == 4   ? float_of(bits)
                    : width == 2 ? widen(bits)
                                 : embedding.scale() * static_cast<float>(static_cast<std::int8_t>(bits));
  }
  return vector;
}

}  // namespace semserve
