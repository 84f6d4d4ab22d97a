// Which failures the client itself retries, and when.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "semserve/error.h"

namespace semserve {

/// gRPC's own policy: round robin over the servers, with health checks those that are healthy, and retries of
/// UNAVAILABLE, where the server's pushback takes the place of the back-off.
std::string service_config(bool health_checks);

/// What the retries of the service config do for UNAVAILABLE, the client does for the rest.
enum class Retries {
  kOverload,           // of a unary call: RESOURCE_EXHAUSTED, since gRPC retries UNAVAILABLE itself
  kOverloadAndOutage,  // of a stream or of one of its requests
};

/// The wait before a request is sent again whose attempt number `attempt`, from 1, failed; nullopt where it is not
/// sent again. The server's own delay takes the place of the back-off.
std::optional<std::chrono::milliseconds> retry_after(const Error& error, int attempt, Retries retries);

}  // namespace semserve
