#include "error.h"

#include <array>
#include <charconv>

#include "google/rpc/error_details.pb.h"
#include "text.h"

namespace semserve {
namespace {

// gRPC's own name of the trailer in which a server says when to come back.
constexpr auto kPushback = "grpc-retry-pushback-ms";

// Whether gRPC's libraries say this of a message over a limit, with the code of an overload.
bool is_too_large(const std::string& message) {
  const auto said = lower(message);
  return said.find("larger than max") != std::string::npos || said.find("exceeds maximum size") != std::string::npos;
}

std::chrono::milliseconds milliseconds(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) + std::chrono::milliseconds(duration.nanos() / 1'000'000);
}

}  // namespace

Error::Error(StatusCode code, const std::string& message)
    : std::runtime_error(std::string("semserve: ") + code_name(code) + ": " + message),
      code_(code),
      message_(message) {}

const char* code_name(StatusCode code) {
  static constexpr std::array names = {
      "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
      "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
      "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};
  const auto place = static_cast<std::size_t>(code);
  return place < names.size() ? names[place] : "UNKNOWN";
}

Error ErrorBuilder::of(const google::rpc::Status& status) {
  auto code = static_cast<StatusCode>(status.code());
  auto message = status.message();
  if (code == StatusCode::RESOURCE_EXHAUSTED && is_too_large(message)) {
    code = StatusCode::INVALID_ARGUMENT;
    message = "the request or its answer is too large: " + message;
  }
  Error made(code, message);
  for (const auto& detail : status.details()) {
    google::rpc::BadRequest bad;
    google::rpc::RetryInfo retry;
    if (detail.UnpackTo(&bad)) {
      for (const auto& one : bad.field_violations()) made.violations_.push_back({one.field(), one.description()});
    } else if (detail.UnpackTo(&retry)) {
      made.retry_after_ = milliseconds(retry.retry_delay());
    }
  }
  return made;
}

Error ErrorBuilder::of(const grpc::Status& status, const grpc::ClientContext& context) {
  google::rpc::Status detailed;
  // Details are for machines: where they cannot be read, the code and the message still tell what happened.
  if (!detailed.ParseFromString(status.error_details())) detailed.Clear();
  detailed.set_code(status.error_code());
  detailed.set_message(status.error_message());
  auto made = of(detailed);
  const auto& trailers = context.GetServerTrailingMetadata();
  if (const auto pushback = trailers.find(kPushback); pushback != trailers.end()) {
    const auto& value = pushback->second;
    unsigned wait = 0;
    const auto read = std::from_chars(value.begin(), value.end(), wait);
    made.final_refusal_ = read.ec != std::errc() || read.ptr != value.end();
    made.retry_after_.reset();
    if (!made.final_refusal_) made.retry_after_ = std::chrono::milliseconds(wait);
  }
  return made;
}

Error ErrorBuilder::refusing(std::vector<Violation> violations) {
  std::string message;
  for (const auto& one : violations) {
    if (!message.empty()) message += "; ";
    message += one.field + ": " + one.description;
  }
  Error made(StatusCode::INVALID_ARGUMENT, message);
  made.violations_ = std::move(violations);
  return made;
}

bool ErrorBuilder::is_final(const Error& error) { return error.final_refusal_; }

}  // namespace semserve
