// The one error of the client.
#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <grpcpp/support/status.h>

namespace semserve {

using grpc::StatusCode;

/// One field that the server refused.
struct Violation {
  /// Its path in the request, such as "texts[3]" or "pairs[0].hypothesis".
  std::string field;
  /// What is wrong with it.
  std::string description;
};

/// Why a call, a request of a stream or one text of a request was not answered.
///
/// code() tells what to do. INVALID_ARGUMENT and NOT_FOUND mean to change the request, also where it, or its
/// answer, is larger than one message may be. RESOURCE_EXHAUSTED and UNAVAILABLE, which the client has retried
/// already, mean to come back later. INTERNAL means that the server is at fault.
class Error : public std::runtime_error {
 public:
  Error(StatusCode code, const std::string& message);

  /// The gRPC status code, never OK.
  StatusCode code() const { return code_; }

  /// The explanation for people, which names the bad fields too.
  const std::string& message() const { return message_; }

  /// Each bad field of the request; empty for most codes other than INVALID_ARGUMENT.
  const std::vector<Violation>& violations() const { return violations_; }

  /// After which time the server wants to be asked again, where it says so.
  std::optional<std::chrono::milliseconds> retry_after() const { return retry_after_; }

 private:
  friend class ErrorBuilder;

  StatusCode code_;
  std::string message_;
  std::vector<Violation> violations_;
  std::optional<std::chrono::milliseconds> retry_after_;
  bool final_refusal_ = false;  // the server says not to come back
};

/// The canonical name of a code, such as "INVALID_ARGUMENT".
const char* code_name(StatusCode code);

}  // namespace semserve
