// The state of a Cancellation, and the calls that it ends.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <unordered_set>

#include <grpcpp/client_context.h>

#include "semserve/options.h"

namespace semserve {
namespace internal {

class CancellationState {
 public:
  void cancel();

  /// Has a call ended when the cancellation is, until `remove`; at once if it is already.
  void add(grpc::ClientContext& call);
  void remove(grpc::ClientContext& call);

  /// Waits until a time; false where it is cancelled.
  bool sleep_until(std::chrono::steady_clock::time_point until);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
  std::unordered_set<grpc::ClientContext*> calls_;
};

}  // namespace internal

/// Has a call ended by a cancellation, if there is one, as long as this lives.
class Cancellable {
 public:
  Cancellable(const std::optional<Cancellation>& cancellation, grpc::ClientContext& call)
      : state_(cancellation ? &internal::state_of(*cancellation) : nullptr), call_(call) {
    if (state_) state_->add(call_);
  }
  ~Cancellable() {
    if (state_) state_->remove(call_);
  }
  Cancellable(const Cancellable&) = delete;
  Cancellable& operator=(const Cancellable&) = delete;

 private:
  internal::CancellationState* state_;
  grpc::ClientContext& call_;
};

/// Waits until a time. @throws Error CANCELLED if it is cancelled before.
void sleep_until(std::chrono::steady_clock::time_point until, const std::optional<Cancellation>& cancellation);

}  // namespace semserve
