// The cases in which one of two servers is killed while calls go on.

#include <future>
#include <iostream>
#include <mutex>
#include <set>

#include "run.h"

namespace {

/// Has a server killed once there were so many answers, while calls go on.
class Stop {
 public:
  explicit Stop(const Json& given) : name_(given["stop"]), after_(given["stop_after"]) {}

  void answered() {
    const std::lock_guard lock(mutex_);
    if (++answers_ != after_) return;
    std::cout << "stop " << name_ << std::endl;
    stopped_ = std::async(std::launch::async, [] {
      std::string line;
      std::getline(std::cin, line);
      return line;
    });
  }

  void is_done() {
    if (!stopped_.valid()) throw Failed("too few answers to stop a server");
    equal("the server", "stopped " + name_, stopped_.get());
  }

 private:
  std::mutex mutex_;
  std::string name_;
  int after_, answers_ = 0;
  std::future<std::string> stopped_;
};

/// Runs the work so many times side by side.
template <class Work>
void at_once(int times, Work work) {
  std::vector<std::future<void>> running;
  for (int place = 0; place < times; ++place) running.push_back(std::async(std::launch::async, work));
  for (auto& one : running) one.get();
}

}  // namespace

void Run::failover_calls(const semserve::Client& client) const {
  warm(client);
  const auto given_texts = texts(given_["texts"]);
  const int count = given_["count"];
  Stop stop(given_);
  std::atomic<int> next{0};
  at_once(given_["at_once"], [&] {
    for (int place = next++; place < count; place = next++) {
      const auto found = client.embed({given_texts[place % given_texts.size()]});
      same_.generated(expect_["vectors"], std::to_string(place), found);
      stop.answered();
    }
  });
  stop.is_done();
}

void Run::failover_streams(const semserve::Client& client) const {
  warm(client);
  Stop stop(given_);
  at_once(given_["at_once"], [&] {
    std::set<std::string> taken;
    auto answers = client.stream_embed(generated(given_, std::make_shared<Count>()));
    for (const auto& answer : answers) {
      same_.generated(expect_["vectors"], answer.id, answer.value());
      if (!taken.insert(answer.id).second) throw Failed("'" + answer.id + "' was answered twice");
      stop.answered();
    }
    equal("answered", given_["count"], taken.size());
  });
  stop.is_done();
}

void Run::warm(const semserve::Client& client) const {
  for (int call = 0; call < 20; ++call) client.embed({given_["texts"][0].get<std::string>()});
}
