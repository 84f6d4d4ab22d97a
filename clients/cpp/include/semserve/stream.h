// Streams: many requests under way at once, each answered when it is ready.
#pragma once

#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "semserve/error.h"

namespace semserve {

/// One message of a stream: texts or pairs under a name of the caller's, which comes back with the answer. The
/// name is not sent: any string will do.
template <class Item>
struct Request {
  std::string id;
  std::vector<Item> items;
};

/// Where a stream's requests come from: each call gives the next, and nullopt after the last.
///
/// It is called by the thread that asks for answers, when there is room and no answer is ready; while it waits,
/// no answer is given.
template <class Item>
using Source = std::function<std::optional<Request<Item>>()>;

/// A source of the requests of a container.
template <class Item>
Source<Item> source(std::vector<Request<Item>> requests) {
  return [kept = std::move(requests), next = std::size_t{0}]() mutable -> std::optional<Request<Item>> {
    if (next == kept.size()) return std::nullopt;
    return std::move(kept[next++]);
  };
}

/// The answer to one request of a stream: a result, or the error with which a unary call would have failed.
template <class Result>
struct Answer {
  /// The `id` of the request that this answers.
  std::string id;
  std::optional<Result> result;
  std::optional<Error> error;

  /// The result. @throws Error if there is none.
  const Result& value() const {
    if (error) throw *error;
    return *result;
  }
};

namespace internal {

/// One stream, for the thread that reads its answers.
template <class Result>
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual std::optional<Answer<Result>> next() = 0;
};

}  // namespace internal

/// The answers of a stream, in any order. After the end every request has been answered exactly once.
///
/// A request that fails has an error in its answer, and the stream goes on. Only a stream that breaks as a whole
/// throws. Nothing happens while nobody asks for the next answer: the requests are read at most as far ahead as
/// `in_flight` says. A request that the server shed is sent again, up to four times in all and when the server
/// asks for it; so are the requests of a stream whose server went away, to another server where there is one.
/// Its destructor ends the stream. It belongs to one thread at a time.
template <class Result>
class Answers {
 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Answer<Result>;
    using difference_type = std::ptrdiff_t;
    using pointer = Answer<Result>*;
    using reference = Answer<Result>&;

    iterator() = default;
    explicit iterator(Answers& answers) : answers_(&answers) { ++*this; }
    reference operator*() { return *answers_->current_; }
    pointer operator->() { return &*answers_->current_; }
    iterator& operator++() {
      answers_->current_ = answers_->next();
      if (!answers_->current_) answers_ = nullptr;
      return *this;
    }
    bool operator==(const iterator& other) const { return answers_ == other.answers_; }
    bool operator!=(const iterator& other) const { return answers_ != other.answers_; }

   private:
    Answers* answers_ = nullptr;
  };

  explicit Answers(std::unique_ptr<internal::Exchange<Result>> exchange) : exchange_(std::move(exchange)) {}

  /// The next answer; nullopt after the last. @throws Error if the stream itself broke.
  std::optional<Answer<Result>> next() { return exchange_->next(); }

  iterator begin() { return iterator(*this); }
  iterator end() { return iterator(); }

 private:
  std::unique_ptr<internal::Exchange<Result>> exchange_;
  std::optional<Answer<Result>> current_;
};

}  // namespace semserve
