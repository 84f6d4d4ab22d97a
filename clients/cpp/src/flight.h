// The requests of one stream that have no answer yet.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "retry.h"
#include "semserve/error.h"

namespace semserve {

using Clock = std::chrono::steady_clock;

/// What an answer means for its request.
struct Settled {
  enum { kAnswered, kAgain, kUnknown } outcome;
  std::string name;  // the caller's own, of an answered one
};

/// The requests of one stream that have no answer yet, by their number: those that the server has, and those that
/// it shed and that are sent again when they are due. It bounds them, so that a server that sheds load slows its
/// clients down instead of growing their memory.
template <class Message>
class Flight {
 public:
  /// The bound of the bytes of the requests in flight. One request alone may be larger.
  static constexpr std::size_t kMaxBytes = 16 << 20;

  explicit Flight(int bound) : bound_(static_cast<std::size_t>(bound)) {}

  std::size_t size() const { return entries_.size(); }
  std::size_t bound() const { return bound_; }

  /// Whether a request of so many bytes may be added.
  bool fits(std::size_t bytes) const {
    return entries_.empty() || (entries_.size() < bound_ && bytes_ + bytes <= kMaxBytes);
  }

  void add(std::uint64_t number, std::string name, Message message, std::size_t bytes) {
    bytes_ += bytes;
    entries_.emplace(number, Entry{std::move(name), std::move(message), bytes, 1, std::nullopt});
  }

  const Message& message(std::uint64_t number) const { return entries_.at(number).message; }

  /// Takes an answer; `error` is null where it is a good one. A request that would have to wait until `limit` or
  /// longer to be sent again is answered with its error instead.
  Settled settle(std::uint64_t number, const Error* error, Clock::time_point now, Clock::time_point limit) {
    const auto found = entries_.find(number);
    if (found == entries_.end() || found->second.due) return {Settled::kUnknown, ""};
    auto& entry = found->second;
    const auto wait = error ? retry_after(*error, entry.attempts, Retries::kOverloadAndOutage) : std::nullopt;
    if (wait && now + *wait < limit) {
      entry.due = now + *wait;
      return {Settled::kAgain, ""};
    }
    Settled answered{Settled::kAnswered, std::move(entry.name)};
    bytes_ -= entry.bytes;
    entries_.erase(found);
    return answered;
  }

  /// The numbers of the messages that are due to be sent again. The server has them from now on.
  std::vector<std::uint64_t> take_due(Clock::time_point now) {
    std::vector<std::uint64_t> taken;
    for (auto& [number, entry] : entries_) {
      if (!entry.due || *entry.due > now) continue;
      entry.due.reset();
      ++entry.attempts;
      taken.push_back(number);
    }
    return taken;
  }

  /// When the next message is due to be sent again.
  std::optional<Clock::time_point> next_due() const {
    std::optional<Clock::time_point> next;
    for (const auto& [number, entry] : entries_) {
      if (entry.due && (!next || *entry.due < *next)) next = entry.due;
    }
    return next;
  }

  /// The numbers of the messages that the server had, for a new stream in place of one that broke.
  std::vector<std::uint64_t> all_sent() const {
    std::vector<std::uint64_t> numbers;
    for (const auto& [number, entry] : entries_) {
      if (!entry.due) numbers.push_back(number);
    }
    return numbers;
  }

 private:
  struct Entry {
    std::string name;
    Message message;
    std::size_t bytes;
    int attempts;
    std::optional<Clock::time_point> due;  // none while the server has it
  };

  std::map<std::uint64_t, Entry> entries_;
  std::size_t bytes_ = 0;
  std::size_t bound_;
};

}  // namespace semserve
