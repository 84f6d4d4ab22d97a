// A real gRPC server in the test's own process that does what a test says.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <grpcpp/server.h>
#include <grpcpp/server_context.h>

#include "semserve/client.h"
#include "semserve/v1/embedding.grpc.pb.h"

using namespace std::chrono_literals;

using ServerStream =
    grpc::ServerReaderWriter<semserve::v1::StreamEmbedResponse, semserve::v1::StreamEmbedRequest>;

/// By default it answers: a text's vector is its length and 1.
class Scripted final : public semserve::v1::EmbeddingService::Service {
 public:
  /// Gives OK where a unary call is answered. The number of the call counts from 1.
  using OnCall = std::function<grpc::Status(int call, grpc::ServerContext&)>;
  /// Takes part in a stream, and gives the status that ends it. The number of the stream counts from 1.
  using OnStream = std::function<grpc::Status(int stream, ServerStream&)>;

  explicit Scripted(OnCall on_call = {}, OnStream on_stream = {});
  ~Scripted() override;

  const std::string& address() const { return address_; }
  semserve::Client client() const { return semserve::Client(address_); }
  int calls() const { return calls_; }
  int streams() const { return streams_; }

  /// Says that it does not serve, though it still answers.
  void serve_not();

  /// Stops at once: its port refuses connections, and calls in flight break.
  void stop();

 private:
  grpc::Status Embed(grpc::ServerContext* context, const semserve::v1::EmbedRequest* request,
                     semserve::v1::EmbedResponse* response) override;
  grpc::Status StreamEmbed(grpc::ServerContext* context, ServerStream* stream) override;

  OnCall on_call_;
  OnStream on_stream_;
  std::atomic<int> calls_{0}, streams_{0};
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

/// The good answer to a request of a stream.
semserve::v1::StreamEmbedResponse answered(const semserve::v1::StreamEmbedRequest& request);

/// The answer of a server that has no room for a request of a stream.
semserve::v1::StreamEmbedResponse shed(const semserve::v1::StreamEmbedRequest& request,
                                       std::chrono::milliseconds wait = 1ms);

/// An overload, with the trailer that says when to come back.
grpc::Status overloaded(grpc::ServerContext& context, const std::string& pushback);

/// So many requests of one text each, the longer the later.
semserve::Source<std::string> batches(int count);

/// Whether an answer has the vector of its text.
bool is_right(const semserve::Answer<semserve::Embeddings>& answer);

/// The code of the error that a call ends with; OK if there is none.
template <class Call>
semserve::StatusCode code_of(Call call) {
  try {
    call();
  } catch (const semserve::Error& error) {
    return error.code();
  }
  return semserve::StatusCode::OK;
}
