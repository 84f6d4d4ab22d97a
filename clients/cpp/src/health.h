// grpc.health.v1, the health service of gRPC.
#pragma once

#include <string>

#include "connection.h"

namespace semserve {

/// Whether a model, or with an empty name the server, is served. @throws Error
bool is_serving(const internal::Connection& connection, const std::string& model, const CallOptions& options);

}  // namespace semserve
