// The channel of a client, and unary calls on it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "cancellation.h"
#include "error.h"
#include "refusal.h"
#include "retry.h"
#include "semserve/options.h"

namespace semserve::internal {

class Connection {
 public:
  /// @throws Error INVALID_ARGUMENT if an option cannot be used.
  Connection(const std::vector<std::string>& addresses, const ClientOptions& options);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  std::chrono::milliseconds timeout(std::optional<std::chrono::milliseconds> own) const {
    return own.value_or(timeout_);
  }
  int in_flight(std::optional<int> own) const { return own.value_or(in_flight_); }

  /// Adds the key.
  void authorize(grpc::ClientContext& context) const;

  /// Calls a method of a service's stub until there is an answer, an error that is not retried, or the deadline.
  template <class Service, class Sent, class Received>
  Received ask(grpc::Status (Service::StubInterface::*method)(grpc::ClientContext*, const Sent&, Received*),
               const Sent& request, std::optional<std::chrono::milliseconds> timeout,
               const std::optional<Cancellation>& cancellation) const;

  template <class Service, class Sent, class Received, class Options>
  Received ask(grpc::Status (Service::StubInterface::*method)(grpc::ClientContext*, const Sent&, Received*),
               const Sent& request, const Options& options) const {
    return ask<Service>(method, request, options.timeout, options.cancellation);
  }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::string authorization_;
  std::chrono::milliseconds timeout_;
  int in_flight_;
};

template <class Service, class Sent, class Received>
Received Connection::ask(
    grpc::Status (Service::StubInterface::*method)(grpc::ClientContext*, const Sent&, Received*),
    const Sent& request, std::optional<std::chrono::milliseconds> timeout,
    const std::optional<Cancellation>& cancellation) const {
  if (auto refused = refusal(request)) throw *refused;
  const auto stub = Service::NewStub(channel_);
  const auto deadline = std::chrono::steady_clock::now() + this->timeout(timeout);
  for (int attempt = 1;; ++attempt) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + (deadline - std::chrono::steady_clock::now()));
    authorize(context);
    const Cancellable cancellable(cancellation, context);
    Received received;
    const auto status = (stub.get()->*method)(&context, request, &received);
    if (status.ok()) return received;
    const auto error = ErrorBuilder::of(status, context);
    const auto wait = retry_after(error, attempt, Retries::kOverload);
    const auto again = std::chrono::steady_clock::now() + wait.value_or(std::chrono::milliseconds(0));
    if (!wait || again >= deadline) throw error;
    sleep_until(again, cancellation);
  }
}

}  // namespace semserve::internal
