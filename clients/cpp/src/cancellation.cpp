#include "cancellation.h"

#include <thread>

#include "semserve/error.h"

namespace semserve {

Cancellation::Cancellation() : state_(std::make_shared<internal::CancellationState>()) {}

void Cancellation::cancel() { state_->cancel(); }

namespace internal {

CancellationState& state_of(const Cancellation& cancellation) { return *cancellation.state_; }

void CancellationState::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  for (auto* call : calls_) call->TryCancel();
  changed_.notify_all();
}

void CancellationState::add(grpc::ClientContext& call) {
  const std::lock_guard lock(mutex_);
  if (cancelled_) call.TryCancel();
  calls_.insert(&call);
}

void CancellationState::remove(grpc::ClientContext& call) {
  const std::lock_guard lock(mutex_);
  calls_.erase(&call);
}

bool CancellationState::sleep_until(std::chrono::steady_clock::time_point until) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_until(lock, until, [&] { return cancelled_; });
}

}  // namespace internal

void sleep_until(std::chrono::steady_clock::time_point until, const std::optional<Cancellation>& cancellation) {
  if (!cancellation) {
    std::this_thread::sleep_until(until);
  } else if (!internal::state_of(*cancellation).sleep_until(until)) {
    throw Error(StatusCode::CANCELLED, "the caller cancelled the call");
  }
}

}  // namespace semserve
