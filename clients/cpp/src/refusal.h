// Requests that cannot be sent.
#pragma once

#include <optional>

#include <google/protobuf/message.h>

#include "semserve/error.h"

namespace semserve {

/// Refuses a request with a string that is not UTF-8, as the server would if it could read it. gRPC itself would
/// not say which. Nullopt where nothing is wrong.
std::optional<Error> refusal(const google::protobuf::Message& request);

}  // namespace semserve
