// What the calls give.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "semserve/error.h"

namespace semserve {

/// What a request cost, in tokens.
struct Usage {
  /// The tokens of the request's own texts.
  std::int64_t token_count = 0;
  /// What was computed for them, their batches' padding included.
  std::int64_t padded_token_count = 0;
};

/// The outcome of one text.
struct Embedding {
  /// The text's vector; empty where there is an error.
  std::vector<float> vector;
  /// The text's tokens, special tokens included, after truncation.
  int token_count = 0;
  /// How many tokens truncation dropped.
  int truncated_tokens = 0;
  /// Why the text has no vector; never set without `partial`.
  std::optional<Error> error;
};

/// The answer to a request to embed: one result a text, in the order of the texts.
struct Embeddings {
  std::string model;
  std::vector<Embedding> results;
  Usage usage;
};

/// The outcome of one text: the weights that are above 0, by ids of the vocabulary, ascending.
struct SparseEmbedding {
  std::vector<std::uint32_t> indices;
  std::vector<float> values;
  /// Each index as the vocabulary writes it, where asked for.
  std::vector<std::string> tokens;
  int token_count = 0;
  int truncated_tokens = 0;
  std::optional<Error> error;
};

/// The answer to a request for sparse vectors: one result a text, in the order of the texts.
struct SparseEmbeddings {
  std::string model;
  std::vector<SparseEmbedding> results;
  Usage usage;
};

/// A premise and a hypothesis, or for a classifier of single texts the premise alone.
struct ClassifyPair {
  std::string premise;
  std::optional<std::string> hypothesis;
};

/// A label with its score: a probability for a model of softmax or sigmoid scores.
struct LabelScore {
  std::string label;
  float score = 0;
};

/// The outcome of one pair.
struct Classification {
  /// The label of the highest score; empty where there is an error.
  std::string label;
  /// Every label with its score, in the model's order.
  std::vector<LabelScore> scores;
  /// The model's raw outputs in the same order.
  std::vector<float> logits;
  int token_count = 0;
  int truncated_tokens = 0;
  std::optional<Error> error;
};

/// The answer to a request to classify: one result a pair, in the order of the pairs.
struct Classifications {
  std::string model;
  std::vector<Classification> results;
  Usage usage;
};

/// A left text and a right one.
using TextPair = std::pair<std::string, std::string>;

/// One text that was found: its place, from 0, in the documents or the corpus. A higher score is more similar.
struct Hit {
  int index = 0;
  float score = 0;
};

/// What the texts of a request score: `T` is a list of scores or of hits, or a list of such lists.
template <class T>
struct Scored {
  std::string model;
  T scores;
  Usage usage;
  /// How many tokens truncation dropped, of all texts.
  int truncated_tokens = 0;
};

/// The score of one pair or text; NaN where there is an error.
struct Score {
  float value = 0;
  std::optional<Error> error;
};

/// The cosine of the angle between two vectors, from -1 to 1; 0 where one of them is zero.
/// @throws std::invalid_argument if the vectors differ in length.
double cosine(const std::vector<float>& left, const std::vector<float>& right);

}  // namespace semserve
