// One stream of a caller's: what is read from the source, sent, waited for and given.
#pragma once

#include <algorithm>
#include <charconv>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "connection.h"
#include "flight.h"
#include "link.h"
#include "refusal.h"
#include "semserve/stream.h"

namespace semserve {

/// How one kind of stream speaks. `Protocol` has the types Item, Result, Wrapped and Unwrapped, and
///   std::unique_ptr<stream> open(context, queue), where the stream is the library's own;
///   Wrapped write(items), without a number, and body(wrapped), what a unary call would send;
///   Result alone(body), by a unary call; Result read(unwrapped).
template <class Protocol>
class Exchange : public internal::Exchange<typename Protocol::Result> {
 public:
  using Item = typename Protocol::Item;
  using Result = typename Protocol::Result;
  using Wrapped = typename Protocol::Wrapped;
  using Unwrapped = typename Protocol::Unwrapped;

  Exchange(Protocol protocol, Source<Item> source, int in_flight, std::chrono::milliseconds timeout,
           std::optional<Cancellation> cancellation)
      : protocol_(std::move(protocol)),
        source_(std::move(source)),
        timeout_(timeout),
        cancellation_(std::move(cancellation)),
        flight_(in_flight) {}

  std::optional<Answer<Result>> next() override {
    if (failed_) return std::nullopt;
    failed_ = true;  // unless an answer or the end is reached below
    heard_ = Clock::now();  // the server owes nothing for the time that the caller took
    for (;;) {
      admit();
      send();
      if (!source_ && !held_ && flight_.size() == 0) {
        if (link_) link_->close(Clock::now() + kCloseTimeout);
        link_.reset();
        return std::nullopt;
      }
      const bool has_room = source_ && !held_ && flight_.size() < flight_.bound();
      wait(has_room ? Clock::now() : next_time());
      if (auto answer = receive()) return given(std::move(answer));
      if (flight_.size() > 0 && Clock::now() >= heard_ + timeout_) {
        throw Error(StatusCode::DEADLINE_EXCEEDED,
                    "no answer on the stream for " + std::to_string(timeout_.count()) + " ms");
      }
      if (!has_room || !is_idle()) continue;
      if (auto answer = read()) return given(std::move(answer));
    }
  }

 private:
  /// The largest request that a stream carries. A larger one is sent by itself: one that the server refuses as too
  /// large ends the whole stream.
  static constexpr std::size_t kMaxStreamRequestBytes = 3 << 20;
  /// How long a stream whose requests are all answered waits for the server to end it.
  static constexpr std::chrono::seconds kCloseTimeout{1};

  struct Held {
    std::string name;
    Wrapped message;
    std::size_t bytes;
  };

  std::optional<Answer<Result>> given(std::optional<Answer<Result>> answer) {
    failed_ = false;
    return answer;
  }

  /// Reads a request of the caller's. One that is no message of the stream is answered here.
  std::optional<Answer<Result>> read() {
    auto request = source_();
    heard_ = Clock::now();  // nor for the time that the source took
    if (!request) {
      source_ = nullptr;
      return std::nullopt;
    }
    auto message = protocol_.write(request->items);
    if (auto refused = refusal(protocol_.body(message))) {
      return Answer<Result>{std::move(request->id), std::nullopt, std::move(refused)};
    }
    const auto bytes = message.ByteSizeLong();
    if (bytes > kMaxStreamRequestBytes) {
      return answer(std::move(request->id), [&] { return protocol_.alone(protocol_.body(message)); });
    }
    held_ = Held{std::move(request->id), std::move(message), bytes};
    return std::nullopt;
  }

  /// Moves what was read into the flight, if there is room.
  void admit() {
    if (!held_ || !flight_.fits(held_->bytes)) return;
    if (flight_.size() == 0) heard_ = Clock::now();
    held_->message.set_id(std::to_string(number_));
    flight_.add(number_, std::move(held_->name), std::move(held_->message), held_->bytes);
    if (link_) outbox_.push_back(number_);
    held_.reset();
    ++number_;
  }

  /// Opens a stream where there is something to send and none, and writes the next message.
  void send() {
    const auto now = Clock::now();
    if (!link_ && flight_.size() > 0 && now >= reopen_) {
      link_ = std::make_unique<Link<Wrapped, Unwrapped>>(
          [&](auto* context, auto* queue) { return protocol_.open(context, queue); }, cancellation_);
      const auto sent = flight_.all_sent();
      outbox_.assign(sent.begin(), sent.end());
    }
    if (!link_) return;
    const auto due = flight_.take_due(now);
    outbox_.insert(outbox_.end(), due.begin(), due.end());
    if (outbox_.empty() || !link_->can_write()) return;
    link_->write(flight_.message(outbox_.front()));
    outbox_.pop_front();
  }

  /// Whether nothing is being sent, so that the source may be asked.
  bool is_idle() const { return !link_ || (outbox_.empty() && link_->can_write()) || flight_.size() == 0; }

  void wait(Clock::time_point until) {
    if (link_) {
      link_->wait(is_idle() ? until : std::max(until, next_time()));
    } else if (until > Clock::now()) {
      sleep_until(until, cancellation_);
    }
  }

  /// When there is something to do even if nothing happens.
  Clock::time_point next_time() const {
    auto time = heard_ + timeout_;
    if (!link_) time = std::min(time, reopen_);
    if (const auto due = flight_.next_due()) time = std::min(time, *due);
    return time;
  }

  /// Takes what the stream received; nullopt where there is nothing for the caller.
  std::optional<Answer<Result>> receive() {
    if (!link_) return std::nullopt;
    if (auto message = link_->take()) return settle(std::move(*message));
    if (link_->has_ended()) broken();
    return std::nullopt;
  }

  std::optional<Answer<Result>> settle(Unwrapped message) {
    const auto now = Clock::now();
    heard_ = now;
    breaks_ = 0;
    std::optional<Error> error;
    if (message.has_error()) error = ErrorBuilder::of(message.error());
    const auto& id = message.id();
    std::uint64_t number = 0;
    const auto parsed = std::from_chars(id.data(), id.data() + id.size(), number);
    const bool is_number = parsed.ec == std::errc() && parsed.ptr == id.data() + id.size();
    auto settled = flight_.settle(is_number ? number : UINT64_MAX, error ? &*error : nullptr, now, now + timeout_);
    if (settled.outcome == Settled::kAgain) return std::nullopt;
    if (settled.outcome == Settled::kUnknown) {
      throw Error(StatusCode::INTERNAL, "the server answered '" + id + "', which was not asked");
    }
    if (error) return Answer<Result>{std::move(settled.name), std::nullopt, std::move(error)};
    return answer(std::move(settled.name), [&] { return protocol_.read(std::move(message)); });
  }

  /// Prepares a new stream for one that broke, unless too many did or its error is not retried.
  void broken() {
    if (link_->status().ok()) {
      throw Error(StatusCode::INTERNAL, "the server ended the stream before it had answered everything");
    }
    const auto error = link_->error();
    const auto wait = retry_after(error, ++breaks_, Retries::kOverloadAndOutage);
    if (!wait || *wait >= timeout_) throw error;
    link_.reset();
    outbox_.clear();
    reopen_ = Clock::now() + *wait;
  }

  /// The answer that `make` makes, or the error that it throws.
  template <class Make>
  static Answer<Result> answer(std::string id, Make make) {
    try {
      auto made = make();
      return {std::move(id), std::move(made), std::nullopt};
    } catch (const Error& error) {
      return {std::move(id), std::nullopt, error};
    }
  }

  Protocol protocol_;
  Source<Item> source_;  // empty after the last request
  std::chrono::milliseconds timeout_;
  std::optional<Cancellation> cancellation_;
  Flight<Wrapped> flight_;
  std::uint64_t number_ = 0;  // of the next request
  std::optional<Held> held_;  // read, and does not fit yet
  std::deque<std::uint64_t> outbox_;  // numbers of messages to write
  std::unique_ptr<Link<Wrapped, Unwrapped>> link_;
  int breaks_ = 0;  // streams that broke since the last answer
  Clock::time_point reopen_{};  // when the next may be opened
  Clock::time_point heard_{};  // when the last answer came, or the first request after a time without any
  bool failed_ = false;
};

}  // namespace semserve
