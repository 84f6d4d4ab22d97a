#include "vector.h"

#include <cmath>
#include <limits>
#include <stdexcept>

#include <gtest/gtest.h>

#include "scripted.h"

namespace semserve {
namespace {

v1::Embedding packed(v1::VectorEncoding encoding, const std::string& bytes) {
  v1::Embedding made;
  made.set_encoding(encoding);
  made.set_packed(bytes);
  made.set_dimensions(3);
  made.set_scale(0.5f);
  return made;
}

TEST(AVector, IsTheSameInEveryEncoding) {
  const std::vector<float> expected = {1, -0.5f, 0};
  v1::Embedding values;
  values.mutable_values()->Add(expected.begin(), expected.end());
  EXPECT_EQ(expected, unpack(values));
  const std::string floats("\x00\x00\x80\x3f\x00\x00\x00\xbf\x00\x00\x00\x00", 12);
  EXPECT_EQ(expected, unpack(packed(v1::VECTOR_ENCODING_FLOAT32, floats)));
  EXPECT_EQ(expected, unpack(packed(v1::VECTOR_ENCODING_FLOAT16, std::string("\x00\x3c\x00\xb8\x00\x00", 6))));
  EXPECT_EQ(expected, unpack(packed(v1::VECTOR_ENCODING_INT8, std::string("\x02\xff\x00", 3))));
}

TEST(AVector, OfBytesThatDoNotFitIsTheServersFault) {
  for (const std::size_t bytes : {0u, 11u, 13u}) {
    const auto bad = packed(v1::VECTOR_ENCODING_FLOAT32, std::string(bytes, '\0'));
    EXPECT_EQ(StatusCode::INTERNAL, code_of([&] { unpack(bad); }));
  }
}

TEST(HalfPrecision, IsWidenedInAllItsCases) {
  EXPECT_EQ(65504.f, widen(0x7bff));
  EXPECT_EQ(std::ldexp(1.f, -14), widen(0x0400));
  EXPECT_EQ(std::ldexp(1.f, -24), widen(0x0001));
  EXPECT_EQ(-1023 * std::ldexp(1.f, -24), widen(0x83ff));
  EXPECT_EQ(-std::numeric_limits<float>::infinity(), widen(0xfc00));
  EXPECT_TRUE(std::isnan(widen(0x7e00)));
  EXPECT_TRUE(std::signbit(widen(0x8000)));
}

TEST(Cosine, IsOfTheAngleAlone) {
  EXPECT_EQ(1, cosine({1, 0}, {3, 0}));
  EXPECT_EQ(-1, cosine({1, 0}, {-3, 0}));
  EXPECT_EQ(0, cosine({1, 0}, {0, 0}));
  EXPECT_THROW(cosine({1}, {1, 2}), std::invalid_argument);
}

}  // namespace
}  // namespace semserve
