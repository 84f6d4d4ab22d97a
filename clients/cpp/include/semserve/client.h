// The C++ client of semserve, a gRPC server for semantic similarity.
//
//     semserve::Client client("127.0.0.1:50051");
//     auto answer = client.embed({"The cat sits on the mat."});
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/channel.h>

#include "semserve/error.h"
#include "semserve/options.h"
#include "semserve/results.h"
#include "semserve/stream.h"
#include "semserve/v1/model.pb.h"

namespace semserve {

namespace internal {
class Connection;
}

/// A client of semserve. It is safe for use by many threads at once; one is enough for a program. Copies share
/// its connections.
///
/// Every call has a deadline, and every failure is an Error.
class Client {
 public:
  /// Makes a client for the server at the address: HOST:PORT, [IPV6]:PORT, or unix:PATH. Calls are balanced over
  /// every address that the name resolves to. It does not wait for the server: the first call connects.
  /// @throws Error INVALID_ARGUMENT if the address or an option cannot be used.
  explicit Client(const std::string& address, const ClientOptions& options = {});

  /// Makes a client for several servers that serve the same, each IP:PORT: calls go to each in turn, those that
  /// are healthy alone.
  explicit Client(const std::vector<std::string>& addresses, const ClientOptions& options = {});

  /// Turns texts into vectors, in the order of the texts. One call with many texts costs far less than many
  /// calls; stream_embed takes more than the server allows in one.
  Embeddings embed(const std::vector<std::string>& texts, const EmbedOptions& options = {}) const;

  /// Embeds a stream of requests and gives each answer as soon as it is ready, by the rules of Answers.
  Answers<Embeddings> stream_embed(Source<std::string> requests, const EmbedOptions& options = {}) const;

  /// Turns texts into sparse vectors, in the order of the texts.
  SparseEmbeddings embed_sparse(const std::vector<std::string>& texts, const SparseOptions& options = {}) const;

  /// Labels pairs, in their order.
  Classifications classify(const std::vector<ClassifyPair>& pairs, const PairOptions& options = {}) const;

  /// Classifies a stream of requests, by the rules of Answers.
  Answers<Classifications> stream_classify(Source<ClassifyPair> requests, const PairOptions& options = {}) const;

  /// Gives each pair one number, in their order.
  Scored<std::vector<Score>> score(const std::vector<TextPair>& pairs, const PairOptions& options = {}) const;

  /// Gives each text one number, in their order, for a model of single texts.
  Scored<std::vector<Score>> score_texts(const std::vector<std::string>& texts, const PairOptions& options = {}) const;

  /// Scores each document together with the query and sorts them, highest first.
  Scored<std::vector<Hit>> rerank(
      const std::string& query, const std::vector<std::string>& documents, const RerankOptions& options = {}) const;

  /// Scores pairs of texts, in their order.
  Scored<std::vector<float>> compare(const std::vector<TextPair>& pairs, const CompareOptions& options = {}) const;

  /// Sorts documents by their similarity to the query, best first.
  Scored<std::vector<Hit>> rank(
      const std::string& query, const std::vector<std::string>& documents, const RankOptions& options = {}) const;

  /// Finds for each query the most similar texts of the corpus, best first: ten, unless `top_k` says otherwise.
  Scored<std::vector<std::vector<Hit>>> search(
      const std::vector<std::string>& queries, const std::vector<std::string>& corpus,
      const RankOptions& options = {}) const;

  /// Scores every text of the left against every text of the right: a row for each of the left. Without a right
  /// it is the left itself.
  Scored<std::vector<std::vector<float>>> matrix(
      const std::vector<std::string>& left, const std::vector<std::string>& right = {},
      const CompareOptions& options = {}) const;

  /// Tells the server's version, its limits, and which models answer requests that name none.
  v1::GetServerInfoResponse server_info(const CallOptions& options = {}) const;

  /// Lists the models, sorted by name: those that are served, and with their state those that are being loaded,
  /// were refused or were unloaded.
  std::vector<v1::ModelInfo> models(const CallOptions& options = {}) const;

  /// Describes one model. The name may be empty where only one is loaded.
  v1::ModelInfo model(const std::string& name, const CallOptions& options = {}) const;

  /// Has a bundle of the server's models directory served as it is there now, and returns when it is warm; what
  /// was served under that name serves until then. FAILED_PRECONDITION: the bundle cannot be served.
  /// PERMISSION_DENIED: the server was not started with --allow-model-control.
  v1::ModelInfo load_model(const std::string& name, const CallOptions& options = {}) const;

  /// Has a model served no longer, where the server allows it.
  void unload_model(const std::string& name, const CallOptions& options = {}) const;

  /// Shows how a model's tokenizer reads texts, without running the model. An empty name is the default.
  std::vector<v1::TokenizeResult> tokenize(
      const std::vector<std::string>& texts, const std::string& model = "", const CallOptions& options = {}) const;

  /// Tells whether the model is warm and served; an empty name asks for the whole server. NOT_FOUND: the server
  /// does not know the model.
  bool healthy(const std::string& model = "", const CallOptions& options = {}) const;

  /// The channel itself, for the generated stubs of semserve::v1. They do not send the key.
  std::shared_ptr<grpc::Channel> channel() const;

 private:
  std::shared_ptr<const internal::Connection> connection_;
};

}  // namespace semserve
