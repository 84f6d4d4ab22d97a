// One case and how it is run.
#pragma once

#include <map>
#include <string>

#include "compare.h"
#include "given.h"

class Run {
 public:
  Run(const Json& test_case, double tolerance)
      : given_(test_case["given"]),
        expect_(test_case["expect"]),
        call_(test_case["call"]),
        names_(test_case["server"]),
        same_{expect_.value("tolerance", tolerance)} {}

  /// @throws Failed, or an error of the client that the case does not expect.
  void run(const std::map<std::string, std::string>& servers);

 private:
  semserve::Client client(const std::map<std::string, std::string>& servers) const;
  void is_refused() const;
  void is_cancelled(const semserve::Client& client) const;

  /// Makes the call and compares the answer.
  void ask(const semserve::Client& client, const std::optional<semserve::Cancellation>& cancellation) const;
  void ask_similarity(const semserve::Client& client) const;
  void ask_stream(const semserve::Client& client, const std::optional<semserve::Cancellation>& cancellation) const;
  void ask_generated(const semserve::Client& client) const;

  template <class Result, class Compare>
  void same_answers(semserve::Answers<Result> answers, Compare compare) const;

  void failover_calls(const semserve::Client& client) const;
  void failover_streams(const semserve::Client& client) const;
  void warm(const semserve::Client& client) const;

  const Json& given_;
  const Json& expect_;
  std::string call_, names_;
  Same same_;
};
