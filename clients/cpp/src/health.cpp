#include "health.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "text.h"

namespace semserve {
namespace {

using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using google::protobuf::io::StringOutputStream;

constexpr auto kCheck = "/grpc.health.v1.Health/Check";
// Its two messages have one field each, so that they are written and read here: gRPC's packages for C++ ship no
// stubs of the service. HealthCheckRequest.service is field 1, a string; HealthCheckResponse.status is field 1, an
// enum in which 1 is SERVING.
constexpr std::uint32_t kServiceTag = 1 << 3 | 2, kStatusTag = 1 << 3 | 0, kServing = 1;

grpc::ByteBuffer request_of(const std::string& service) {
  std::string bytes;
  {
    StringOutputStream stream(&bytes);
    CodedOutputStream coded(&stream);
    coded.WriteTag(kServiceTag);
    coded.WriteVarint32(static_cast<std::uint32_t>(service.size()));
    coded.WriteString(service);
  }
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

bool says_serving(const grpc::ByteBuffer& response) {
  grpc::Slice slice;
  if (!response.DumpToSingleSlice(&slice).ok()) return false;
  CodedInputStream coded(slice.begin(), static_cast<int>(slice.size()));
  std::uint32_t status = 0;
  return coded.ReadTag() == kStatusTag && coded.ReadVarint32(&status) && status == kServing;
}

}  // namespace

bool is_serving(const internal::Connection& connection, const std::string& model, const CallOptions& options) {
  if (!is_utf8(model)) throw ErrorBuilder::refusing({{"service", "is not valid UTF-8"}});
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + connection.timeout(options.timeout));
  connection.authorize(context);
  const Cancellable cancellable(options.cancellation, context);
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(connection.channel());
  const auto call = stub.PrepareUnaryCall(&context, kCheck, request_of(model), &queue);
  grpc::ByteBuffer response;
  grpc::Status status;
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag;
  bool ok;
  queue.Next(&tag, &ok);  // it always gives the end of the call, at its deadline at the latest
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  if (!status.ok()) throw ErrorBuilder::of(status, context);
  return says_serving(response);
}

}  // namespace semserve
