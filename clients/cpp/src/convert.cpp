#include "convert.h"

#include "error.h"
#include "vector.h"

namespace semserve {
namespace {

template <class Result, class Wire>
Result counted(const Wire& wire) {
  Result made;
  made.token_count = wire.token_count();
  made.truncated_tokens = wire.truncated_tokens();
  if (wire.has_error()) made.error = ErrorBuilder::of(wire.error());
  return made;
}

}  // namespace

v1::EmbedRequest to_wire(const std::vector<std::string>& texts, const EmbedOptions& options) {
  v1::EmbedRequest request;
  request.set_model(options.model);
  assign(request.mutable_texts(), texts);
  if (options.normalize) request.set_normalize(*options.normalize);
  if (options.dimensions) request.set_dimensions(*options.dimensions);
  if (options.prompt) request.set_prompt_name(*options.prompt);
  request.set_truncation(options.truncation);
  request.set_encoding(options.encoding);
  request.set_side(options.side);
  request.set_allow_partial(options.partial);
  return request;
}

v1::EmbedSparseRequest to_wire(const std::vector<std::string>& texts, const SparseOptions& options) {
  v1::EmbedSparseRequest request;
  request.set_model(options.model);
  assign(request.mutable_texts(), texts);
  if (options.top_k) request.set_top_k(*options.top_k);
  if (options.prompt) request.set_prompt_name(*options.prompt);
  request.set_truncation(options.truncation);
  request.set_include_tokens(options.tokens);
  request.set_allow_partial(options.partial);
  return request;
}

v1::ClassifyRequest to_wire(const std::vector<ClassifyPair>& pairs, const PairOptions& options) {
  v1::ClassifyRequest request;
  request.set_model(options.model);
  for (const auto& pair : pairs) {
    auto* added = request.add_pairs();
    added->set_premise(pair.premise);
    if (pair.hypothesis) added->set_hypothesis(*pair.hypothesis);
  }
  request.set_truncation(options.truncation);
  request.set_allow_partial(options.partial);
  return request;
}

Embeddings from_wire(const v1::EmbedResponse& response) {
  Embeddings made{response.model(), {}, from_wire(response.usage())};
  made.results.reserve(static_cast<std::size_t>(response.results_size()));
  for (const auto& result : response.results()) {
    made.results.push_back(counted<Embedding>(result));
    if (result.has_embedding()) made.results.back().vector = unpack(result.embedding());
  }
  return made;
}

SparseEmbeddings from_wire(const v1::EmbedSparseResponse& response) {
  SparseEmbeddings made{response.model(), {}, from_wire(response.usage())};
  for (const auto& result : response.results()) {
    auto one = counted<SparseEmbedding>(result);
    one.indices.assign(result.indices().begin(), result.indices().end());
    one.values.assign(result.values().begin(), result.values().end());
    one.tokens.assign(result.tokens().begin(), result.tokens().end());
    made.results.push_back(std::move(one));
  }
  return made;
}

Classifications from_wire(const v1::ClassifyResponse& response) {
  Classifications made{response.model(), {}, from_wire(response.usage())};
  for (const auto& result : response.results()) {
    auto one = counted<Classification>(result);
    const auto& classified = result.classification();
    one.label = classified.label();
    for (const auto& score : classified.scores()) one.scores.push_back({score.label(), score.score()});
    one.logits.assign(classified.logits().begin(), classified.logits().end());
    made.results.push_back(std::move(one));
  }
  return made;
}

Scored<std::vector<Score>> from_wire(const v1::ScoreResponse& response) {
  std::vector<Score> scores;
  for (const auto value : response.scores()) scores.push_back({value, std::nullopt});
  for (const auto& one : response.errors()) {
    if (one.index() < 0 || one.index() >= response.scores_size()) {
      throw Error(StatusCode::INTERNAL, "the server's answer has an error of a pair that was not asked");
    }
    scores[static_cast<std::size_t>(one.index())].error = ErrorBuilder::of(one.error());
  }
  return scored(response, std::move(scores));
}

std::vector<Hit> from_wire(const google::protobuf::RepeatedPtrField<v1::Hit>& hits) {
  std::vector<Hit> made;
  for (const auto& hit : hits) made.push_back({hit.index(), hit.score()});
  return made;
}

Usage from_wire(const v1::Usage& usage) { return {usage.token_count(), usage.padded_token_count()}; }

}  // namespace semserve
