#include "semserve/client.h"

#include <utility>

#include "connection.h"
#include "convert.h"
#include "exchange.h"
#include "health.h"
#include "protocols.h"
#include "semserve/v1/classification.grpc.pb.h"
#include "semserve/v1/embedding.grpc.pb.h"
#include "semserve/v1/model.grpc.pb.h"
#include "semserve/v1/score.grpc.pb.h"
#include "semserve/v1/similarity.grpc.pb.h"

namespace semserve {
namespace {

using internal::Connection;

template <class Protocol, class Options>
Answers<typename Protocol::Result> answers(
    std::shared_ptr<const Connection> connection, Source<typename Protocol::Item> requests, const Options& options) {
  const int in_flight = connection->in_flight(options.in_flight);
  if (in_flight < 1) throw Error(StatusCode::INVALID_ARGUMENT, "in_flight is not 1 or more");
  if (!requests) throw Error(StatusCode::INVALID_ARGUMENT, "the source of the requests is empty");
  return Answers<typename Protocol::Result>(std::make_unique<Exchange<Protocol>>(
      Protocol{connection, options}, std::move(requests), in_flight, connection->timeout(options.timeout),
      options.cancellation));
}

template <class Request>
void compare_by(Request& request, const CompareOptions& options) {
  request.set_model(options.model);
  request.set_metric(options.metric);
  if (options.prompt) request.set_prompt_name(*options.prompt);
  if (options.right_prompt) request.set_right_prompt_name(*options.right_prompt);
}

template <class Request>
void rank_by(Request& request, const RankOptions& options) {
  request.set_model(options.model);
  request.set_metric(options.metric);
  if (options.top_k) request.set_top_k(*options.top_k);
  if (options.prompt) request.set_prompt_name(*options.prompt);
  if (options.document_prompt) request.set_document_prompt_name(*options.document_prompt);
}

Scored<std::vector<Score>> ask_scores(
    const Connection& connection, v1::ScoreRequest request, const PairOptions& options) {
  request.set_model(options.model);
  request.set_truncation(options.truncation);
  request.set_allow_partial(options.partial);
  return from_wire(connection.ask<v1::ScoreService>(&v1::ScoreService::StubInterface::Score, request, options));
}

}  // namespace

Client::Client(const std::string& address, const ClientOptions& options)
    : Client(std::vector<std::string>{address}, options) {}

Client::Client(const std::vector<std::string>& addresses, const ClientOptions& options)
    : connection_(std::make_shared<Connection>(addresses, options)) {}

std::shared_ptr<grpc::Channel> Client::channel() const { return connection_->channel(); }

Embeddings Client::embed(const std::vector<std::string>& texts, const EmbedOptions& options) const {
  using Service = v1::EmbeddingService;
  return from_wire(connection_->ask<Service>(&Service::StubInterface::Embed, to_wire(texts, options), options));
}

Answers<Embeddings> Client::stream_embed(Source<std::string> requests, const EmbedOptions& options) const {
  return answers<EmbedProtocol>(connection_, std::move(requests), options);
}

SparseEmbeddings Client::embed_sparse(const std::vector<std::string>& texts, const SparseOptions& options) const {
  using Service = v1::EmbeddingService;
  return from_wire(
      connection_->ask<Service>(&Service::StubInterface::EmbedSparse, to_wire(texts, options), options));
}

Classifications Client::classify(const std::vector<ClassifyPair>& pairs, const PairOptions& options) const {
  using Service = v1::ClassificationService;
  return from_wire(connection_->ask<Service>(&Service::StubInterface::Classify, to_wire(pairs, options), options));
}

Answers<Classifications> Client::stream_classify(Source<ClassifyPair> requests, const PairOptions& options) const {
  return answers<ClassifyProtocol>(connection_, std::move(requests), options);
}

Scored<std::vector<Score>> Client::score(const std::vector<TextPair>& pairs, const PairOptions& options) const {
  v1::ScoreRequest request;
  for (const auto& [left, right] : pairs) {
    auto* added = request.add_pairs();
    added->set_left(left);
    added->set_right(right);
  }
  return ask_scores(*connection_, std::move(request), options);
}

Scored<std::vector<Score>> Client::score_texts(const std::vector<std::string>& texts, const PairOptions& options) const {
  v1::ScoreRequest request;
  assign(request.mutable_texts(), texts);
  return ask_scores(*connection_, std::move(request), options);
}

Scored<std::vector<Hit>> Client::rerank(
    const std::string& query, const std::vector<std::string>& documents, const RerankOptions& options) const {
  v1::RerankRequest request;
  request.set_model(options.model);
  request.set_query(query);
  assign(request.mutable_documents(), documents);
  if (options.top_k) request.set_top_k(*options.top_k);
  request.set_truncation(options.truncation);
  using Service = v1::ScoreService;
  const auto response = connection_->ask<Service>(&Service::StubInterface::Rerank, request, options);
  return scored(response, from_wire(response.hits()));
}

Scored<std::vector<float>> Client::compare(const std::vector<TextPair>& pairs, const CompareOptions& options) const {
  v1::CompareRequest request;
  compare_by(request, options);
  for (const auto& [left, right] : pairs) {
    auto* added = request.add_pairs();
    added->set_left(left);
    added->set_right(right);
  }
  using Service = v1::SimilarityService;
  const auto response = connection_->ask<Service>(&Service::StubInterface::Compare, request, options);
  return scored(response, std::vector<float>(response.scores().begin(), response.scores().end()));
}

Scored<std::vector<Hit>> Client::rank(
    const std::string& query, const std::vector<std::string>& documents, const RankOptions& options) const {
  v1::RankRequest request;
  rank_by(request, options);
  request.set_query(query);
  assign(request.mutable_documents(), documents);
  using Service = v1::SimilarityService;
  const auto response = connection_->ask<Service>(&Service::StubInterface::Rank, request, options);
  return scored(response, from_wire(response.hits()));
}

Scored<std::vector<std::vector<Hit>>> Client::search(
    const std::vector<std::string>& queries, const std::vector<std::string>& corpus, const RankOptions& options) const {
  v1::SearchRequest request;
  rank_by(request, options);
  assign(request.mutable_queries(), queries);
  assign(request.mutable_corpus(), corpus);
  using Service = v1::SimilarityService;
  const auto response = connection_->ask<Service>(&Service::StubInterface::Search, request, options);
  std::vector<std::vector<Hit>> found;
  for (const auto& result : response.results()) found.push_back(from_wire(result.hits()));
  return scored(response, std::move(found));
}

Scored<std::vector<std::vector<float>>> Client::matrix(
    const std::vector<std::string>& left, const std::vector<std::string>& right, const CompareOptions& options) const {
  v1::MatrixRequest request;
  compare_by(request, options);
  assign(request.mutable_left(), left);
  assign(request.mutable_right(), right);
  using Service = v1::SimilarityService;
  const auto response = connection_->ask<Service>(&Service::StubInterface::Matrix, request, options);
  std::vector<std::vector<float>> rows;
  for (const auto& row : response.rows()) rows.emplace_back(row.scores().begin(), row.scores().end());
  return scored(response, std::move(rows));
}

v1::GetServerInfoResponse Client::server_info(const CallOptions& options) const {
  using Service = v1::ModelService;
  return connection_->ask<Service>(&Service::StubInterface::GetServerInfo, v1::GetServerInfoRequest(), options);
}

std::vector<v1::ModelInfo> Client::models(const CallOptions& options) const {
  using Service = v1::ModelService;
  const auto response =
      connection_->ask<Service>(&Service::StubInterface::ListModels, v1::ListModelsRequest(), options);
  return {response.models().begin(), response.models().end()};
}

v1::ModelInfo Client::model(const std::string& name, const CallOptions& options) const {
  using Service = v1::ModelService;
  v1::GetModelRequest request;
  request.set_model(name);
  return connection_->ask<Service>(&Service::StubInterface::GetModel, request, options).model();
}

v1::ModelInfo Client::load_model(const std::string& name, const CallOptions& options) const {
  using Service = v1::ModelService;
  v1::LoadModelRequest request;
  request.set_model(name);
  return connection_->ask<Service>(&Service::StubInterface::LoadModel, request, options).model();
}

void Client::unload_model(const std::string& name, const CallOptions& options) const {
  using Service = v1::ModelService;
  v1::UnloadModelRequest request;
  request.set_model(name);
  connection_->ask<Service>(&Service::StubInterface::UnloadModel, request, options);
}

std::vector<v1::TokenizeResult> Client::tokenize(
    const std::vector<std::string>& texts, const std::string& model, const CallOptions& options) const {
  using Service = v1::ModelService;
  v1::TokenizeRequest request;
  request.set_model(model);
  assign(request.mutable_texts(), texts);
  const auto response = connection_->ask<Service>(&Service::StubInterface::Tokenize, request, options);
  return {response.results().begin(), response.results().end()};
}

bool Client::healthy(const std::string& model, const CallOptions& options) const {
  return is_serving(*connection_, model, options);
}

}  // namespace semserve
