// How errors are made of statuses.
#pragma once

#include <vector>

#include <grpcpp/client_context.h>

#include "google/rpc/status.pb.h"
#include "semserve/error.h"

namespace semserve {

class ErrorBuilder {
 public:
  /// The error of one request of a stream, or of one text.
  static Error of(const google::rpc::Status& status);

  /// The error of a whole call, with what its trailers say.
  static Error of(const grpc::Status& status, const grpc::ClientContext& context);

  /// The error of a request that the client refuses itself.
  static Error refusing(std::vector<Violation> violations);

  /// Whether the server says not to come back.
  static bool is_final(const Error& error);
};

}  // namespace semserve
