// What a client and its calls may be told beside the texts.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "semserve/v1/common.pb.h"
#include "semserve/v1/embedding.pb.h"
#include "semserve/v1/similarity.pb.h"

namespace semserve {

class Cancellation;

namespace internal {
class CancellationState;
CancellationState& state_of(const Cancellation& cancellation);
}  // namespace internal

/// Ends calls from another thread. Copies share their state. A cancelled call ends with CANCELLED, at the server
/// too.
class Cancellation {
 public:
  Cancellation();

  /// Ends every call that was given this cancellation, and each one that is given it later.
  void cancel();

 private:
  friend internal::CancellationState& internal::state_of(const Cancellation& cancellation);
  std::shared_ptr<internal::CancellationState> state_;
};

/// How a client connects. Without `root_certificates` or `system_certificates` nothing is encrypted.
struct ClientOptions {
  /// PEM certificates of the authorities to trust; turns TLS on.
  std::string root_certificates;
  /// Turns TLS on with the certificates that gRPC finds on the system.
  bool system_certificates = false;
  /// PEM certificate and key of the client itself, where the server asks for one.
  std::string certificate, certificate_key;
  /// The name in the server's certificate, where it is not that of the address.
  std::string server_name;
  /// Send calls only to servers whose health service reports SERVING. gRPC sends health checks without the key,
  /// so set this to false for a server with --no-auth-exempt-health.
  bool health_checks = true;
  /// An API key, sent with every call without the white space around it; empty is none.
  std::string key;
  /// The deadline of calls that set none. Of a stream: how long it may wait for the next answer.
  std::chrono::milliseconds timeout{30'000};
  /// The most requests of one stream that have no answer yet, from 1. They are kept to be sent again.
  int in_flight = 8;
};

/// What every call may be told: `timeout` in place of the client's, and `cancellation`.
struct CallOptions {
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<Cancellation> cancellation;
};

/// Options of embed and stream_embed. What is left out is the model's own way.
struct EmbedOptions {
  /// The name of the model; empty: the server's default for the task.
  std::string model;
  /// The name of the prompt that is put before each text; "" for none.
  std::optional<std::string> prompt;
  /// Whether to scale each vector to unit length.
  std::optional<bool> normalize;
  /// Keeps only the first so many dimensions, for models trained to be cut.
  std::optional<int> dimensions;
  /// What to do with texts of too many tokens.
  v1::Truncation truncation = v1::TRUNCATION_UNSPECIFIED;
  /// The form in which vectors travel; they arrive as floats in any case. FLOAT32 is exact and is copied as one
  /// block; FLOAT16 and INT8 are smaller and rounded.
  v1::VectorEncoding encoding = v1::VECTOR_ENCODING_FLOAT32;
  /// Which encoder reads the texts, for a model that has one for each side of a pair.
  v1::Side side = v1::SIDE_UNSPECIFIED;
  /// Answers the good texts even where others are bad: those have an error of their own.
  bool partial = false;
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<Cancellation> cancellation;
  /// Of a stream: the most requests that have no answer yet.
  std::optional<int> in_flight;
};

/// Options of embed_sparse.
struct SparseOptions {
  std::string model;
  std::optional<std::string> prompt;
  /// Keeps only the largest so many weights of each text.
  std::optional<int> top_k;
  v1::Truncation truncation = v1::TRUNCATION_UNSPECIFIED;
  /// Whether each index comes with its token as the vocabulary writes it.
  bool tokens = false;
  bool partial = false;
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<Cancellation> cancellation;
};

/// Options of classify, stream_classify, score and score_texts.
struct PairOptions {
  std::string model;
  v1::Truncation truncation = v1::TRUNCATION_UNSPECIFIED;
  /// Answers the good pairs even where others are bad: those have an error of their own.
  bool partial = false;
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<Cancellation> cancellation;
  std::optional<int> in_flight;
};

/// Options of rerank.
struct RerankOptions {
  std::string model;
  /// Answers with only the best so many hits.
  std::optional<int> top_k;
  v1::Truncation truncation = v1::TRUNCATION_UNSPECIFIED;
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<Cancellation> cancellation;
};

/// Options of compare and matrix.
struct CompareOptions {
  std::string model;
  /// How vectors make a score.
  v1::Metric metric = v1::METRIC_UNSPECIFIED;
  std::optional<std::string> prompt;
  /// The name of the prompt that is put before each right text instead.
  std::optional<std::string> right_prompt;
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<Cancellation> cancellation;
};

/// Options of rank and search.
struct RankOptions {
  std::string model;
  v1::Metric metric = v1::METRIC_UNSPECIFIED;
  /// Answers with only the best so many hits.
  std::optional<int> top_k;
  std::optional<std::string> prompt;
  /// The name of the prompt that is put before each document instead.
  std::optional<std::string> document_prompt;
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<Cancellation> cancellation;
};

}  // namespace semserve
