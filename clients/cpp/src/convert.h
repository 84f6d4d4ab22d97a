// Messages of the wire made from what a caller gives, and results made from messages.
#pragma once

#include <string>
#include <vector>

#include "semserve/options.h"
#include "semserve/results.h"
#include "semserve/v1/classification.pb.h"
#include "semserve/v1/embedding.pb.h"
#include "semserve/v1/score.pb.h"
#include "semserve/v1/similarity.pb.h"

namespace semserve {

v1::EmbedRequest to_wire(const std::vector<std::string>& texts, const EmbedOptions& options);
v1::EmbedSparseRequest to_wire(const std::vector<std::string>& texts, const SparseOptions& options);
v1::ClassifyRequest to_wire(const std::vector<ClassifyPair>& pairs, const PairOptions& options);

Embeddings from_wire(const v1::EmbedResponse& response);
SparseEmbeddings from_wire(const v1::EmbedSparseResponse& response);
Classifications from_wire(const v1::ClassifyResponse& response);
Scored<std::vector<Score>> from_wire(const v1::ScoreResponse& response);
std::vector<Hit> from_wire(const google::protobuf::RepeatedPtrField<v1::Hit>& hits);
Usage from_wire(const v1::Usage& usage);

/// Puts the scores of a response beside what every such response has.
template <class T, class Response>
Scored<T> scored(const Response& response, T scores) {
  return {response.model(), std::move(scores), from_wire(response.usage()), response.truncated_tokens()};
}

template <class Field>
void assign(Field* field, const std::vector<std::string>& texts) {
  field->Reserve(static_cast<int>(texts.size()));
  for (const auto& text : texts) *field->Add() = text;
}

}  // namespace semserve
