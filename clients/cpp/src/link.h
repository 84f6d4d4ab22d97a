// One gRPC stream of requests and answers, driven by one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_stream.h>

#include "cancellation.h"
#include "error.h"
#include "flight.h"

namespace semserve {

template <class Sent, class Received>
class Link {
 public:
  using Stream = grpc::ClientAsyncReaderWriterInterface<Sent, Received>;

  /// Opens a stream: `open(context, queue)` prepares it.
  template <class Open>
  Link(Open open, std::optional<Cancellation> cancellation)
      : cancellation_(std::move(cancellation)), cancellable_(cancellation_, context_) {
    stream_ = open(&context_, &queue_);
    begin(kStart);
    stream_->StartCall(tag(kStart));
  }

  ~Link() {
    context_.TryCancel();
    while (under_way_ != 0) reap(far_future());
    if (started_ && !finished_) {
      finish();
      while (under_way_ != 0) reap(far_future());
    }
    queue_.Shutdown();
    void* ignored;
    bool ok;
    while (queue_.Next(&ignored, &ok)) {
    }
  }

  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// Whether a message can be written now.
  bool can_write() const { return started_ && !is_under_way(kWrite) && !is_under_way(kFinish) && !finished_; }

  void write(const Sent& message) {
    begin(kWrite);
    stream_->Write(message, tag(kWrite));
  }

  /// Closes the requests' half and waits until the server ends the stream, no longer than until a time.
  void close(Clock::time_point until) {
    while (!finished_ && Clock::now() < until) {
      if (can_write() && !closed_) {
        closed_ = true;
        begin(kWrite);
        stream_->WritesDone(tag(kWrite));
      }
      wait(until);
      received_.reset();
    }
  }

  /// Waits until something happens: an answer, room for a message, the end; or until a time.
  void wait(Clock::time_point until) {
    if (started_ && !is_under_way(kRead) && !is_under_way(kFinish) && !received_ && !finished_) {
      begin(kRead);
      stream_->Read(&incoming_, tag(kRead));
    }
    reap(until);
  }

  /// The answer that has come, if one has.
  std::optional<Received> take() { return std::exchange(received_, std::nullopt); }

  /// Whether the stream has ended; `status` and `error` tell how.
  bool has_ended() const { return finished_; }
  const grpc::Status& status() const { return status_; }
  Error error() const { return ErrorBuilder::of(status_, context_); }

 private:
  enum Operation : unsigned { kStart = 1, kRead = 2, kWrite = 4, kFinish = 8 };

  static void* tag(Operation operation) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(operation)); }
  static Clock::time_point far_future() { return Clock::now() + std::chrono::hours(24 * 365); }

  bool is_under_way(Operation operation) const { return under_way_ & operation; }
  void begin(Operation operation) { under_way_ |= operation; }

  void finish() {
    begin(kFinish);
    stream_->Finish(&status_, tag(kFinish));
  }

  void reap(Clock::time_point until) {
    void* got;
    bool ok;
    const auto left = std::max(until - Clock::now(), Clock::duration::zero());
    const auto deadline = std::chrono::system_clock::now() + std::chrono::ceil<std::chrono::microseconds>(left);
    if (queue_.AsyncNext(&got, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) return;
    const auto operation = static_cast<Operation>(reinterpret_cast<std::uintptr_t>(got));
    under_way_ &= ~operation;
    switch (operation) {
      case kStart:
        started_ = true;
        if (!ok) finish();
        break;
      case kRead:
        if (ok) {
          received_ = std::move(incoming_);
          incoming_.Clear();
        } else {
          finish();
        }
        break;
      case kWrite:
        break;  // where it failed, the next read fails too
      case kFinish:
        finished_ = true;
        break;
    }
  }

  std::optional<Cancellation> cancellation_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  Cancellable cancellable_;
  std::unique_ptr<Stream> stream_;
  unsigned under_way_ = 0;
  bool started_ = false, closed_ = false, finished_ = false;
  Received incoming_;
  std::optional<Received> received_;
  grpc::Status status_;
};

}  // namespace semserve
