// The two kinds of streams, as Exchange runs them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "connection.h"
#include "convert.h"
#include "semserve/v1/classification.grpc.pb.h"
#include "semserve/v1/embedding.grpc.pb.h"

namespace semserve {

struct EmbedProtocol {
  using Item = std::string;
  using Result = Embeddings;
  using Wrapped = v1::StreamEmbedRequest;
  using Unwrapped = v1::StreamEmbedResponse;

  std::shared_ptr<const internal::Connection> connection;
  EmbedOptions options;
  std::shared_ptr<v1::EmbeddingService::Stub> stub = v1::EmbeddingService::NewStub(connection->channel());

  auto open(grpc::ClientContext* context, grpc::CompletionQueue* queue) const {
    connection->authorize(*context);
    return stub->PrepareAsyncStreamEmbed(context, queue);
  }
  Wrapped write(const std::vector<Item>& items) const {
    Wrapped message;
    *message.mutable_request() = to_wire(items, options);
    return message;
  }
  const v1::EmbedRequest& body(const Wrapped& message) const { return message.request(); }
  Result alone(const v1::EmbedRequest& request) const {
    return from_wire(
        connection->ask<v1::EmbeddingService>(&v1::EmbeddingService::StubInterface::Embed, request, options));
  }
  Result read(const Unwrapped& message) const { return from_wire(message.response()); }
};

struct ClassifyProtocol {
  using Item = ClassifyPair;
  using Result = Classifications;
  using Wrapped = v1::StreamClassifyRequest;
  using Unwrapped = v1::StreamClassifyResponse;

  std::shared_ptr<const internal::Connection> connection;
  PairOptions options;
  std::shared_ptr<v1::ClassificationService::Stub> stub = v1::ClassificationService::NewStub(connection->channel());

  auto open(grpc::ClientContext* context, grpc::CompletionQueue* queue) const {
    connection->authorize(*context);
    return stub->PrepareAsyncStreamClassify(context, queue);
  }
  Wrapped write(const std::vector<Item>& items) const {
    Wrapped message;
    *message.mutable_request() = to_wire(items, options);
    return message;
  }
  const v1::ClassifyRequest& body(const Wrapped& message) const { return message.request(); }
  Result alone(const v1::ClassifyRequest& request) const {
    return from_wire(connection->ask<v1::ClassificationService>(
        &v1::ClassificationService::StubInterface::Classify, request, options));
  }
  Result read(const Unwrapped& message) const { return from_wire(message.response()); }
};

}  // namespace semserve
