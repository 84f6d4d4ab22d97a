// Vectors: how they travel.
#pragma once

#include <vector>

#include "semserve/v1/embedding.pb.h"

namespace semserve {

/// The values of an embedding in whatever form it travelled. Packed float32 values are copied as one block.
/// @throws Error INTERNAL if the bytes do not fit the dimensions.
std::vector<float> unpack(const v1::Embedding& embedding);

/// The number whose IEEE 754 binary16 bits are given.
float widen(unsigned half);

}  // namespace semserve
