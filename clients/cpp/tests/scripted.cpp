#include "scripted.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include "google/rpc/error_details.pb.h"

namespace {

void answer(const semserve::v1::EmbedRequest& request, semserve::v1::EmbedResponse& response) {
  response.set_model("lengths");
  for (const auto& text : request.texts()) {
    const float values[] = {static_cast<float>(text.size()), 1};
    auto* embedding = response.add_results()->mutable_embedding();
    embedding->set_packed(values, sizeof values);
    embedding->set_dimensions(2);
    embedding->set_encoding(semserve::v1::VECTOR_ENCODING_FLOAT32);
  }
}

}  // namespace

Scripted::Scripted(OnCall on_call, OnStream on_stream)
    : on_call_(std::move(on_call)), on_stream_(std::move(on_stream)) {
  grpc::EnableDefaultHealthCheckService(true);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  address_ = "127.0.0.1:" + std::to_string(port);
}

Scripted::~Scripted() { stop(); }

void Scripted::serve_not() { server_->GetHealthCheckService()->SetServingStatus(false); }

void Scripted::stop() {
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

grpc::Status Scripted::Embed(grpc::ServerContext* context, const semserve::v1::EmbedRequest* request,
                             semserve::v1::EmbedResponse* response) {
  const int call = ++calls_;
  if (on_call_) {
    if (auto status = on_call_(call, *context); !status.ok()) return status;
  }
  answer(*request, *response);
  return grpc::Status::OK;
}

grpc::Status Scripted::StreamEmbed(grpc::ServerContext*, ServerStream* stream) {
  const int number = ++streams_;
  if (on_stream_) return on_stream_(number, *stream);
  for (semserve::v1::StreamEmbedRequest request; stream->Read(&request);) stream->Write(answered(request));
  return grpc::Status::OK;
}

semserve::v1::StreamEmbedResponse answered(const semserve::v1::StreamEmbedRequest& request) {
  semserve::v1::StreamEmbedResponse made;
  made.set_id(request.id());
  answer(request.request(), *made.mutable_response());
  return made;
}

semserve::v1::StreamEmbedResponse shed(const semserve::v1::StreamEmbedRequest& request,
                                       std::chrono::milliseconds wait) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(wait.count() / 1000);
  retry.mutable_retry_delay()->set_nanos(static_cast<int>(wait.count() % 1000) * 1'000'000);
  semserve::v1::StreamEmbedResponse made;
  made.set_id(request.id());
  made.mutable_error()->set_code(grpc::StatusCode::RESOURCE_EXHAUSTED);
  made.mutable_error()->set_message("the queue is full");
  made.mutable_error()->add_details()->PackFrom(retry);
  return made;
}

grpc::Status overloaded(grpc::ServerContext& context, const std::string& pushback) {
  context.AddTrailingMetadata("grpc-retry-pushback-ms", pushback);
  return {grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full"};
}

semserve::Source<std::string> batches(int count) {
  return [count, next = 0]() mutable -> std::optional<semserve::Request<std::string>> {
    if (next == count) return std::nullopt;
    const int place = next++;
    return semserve::Request<std::string>{std::to_string(place), {std::string(place + 1, 'x')}};
  };
}

bool is_right(const semserve::Answer<semserve::Embeddings>& answer) {
  const auto expected = std::vector<float>{std::stof(answer.id) + 1, 1};
  return answer.result && answer.result->results.at(0).vector == expected;
}
