// Answers compared with what a case expects. Each of these throws a Failed with what differs.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "given.h"

/// A case did not come out as the table says.
struct Failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void equal(const std::string& name, const Json& expected, const Json& found);
void error_is_as_expected(const Json& expected, const semserve::Error& error);
void models_are_as_expected(const Json& expected, const std::vector<semserve::v1::ModelInfo>& found);
void server_is_as_expected(const Json& expect, const semserve::v1::GetServerInfoResponse& found);
void tokens_are_as_expected(const Json& expected, const std::vector<semserve::v1::TokenizeResult>& found);

/// What an answer with scores tells about all its texts.
template <class T>
void totals_are_as_expected(const Json& expect, const semserve::Scored<T>& found) {
  const Json all = {{"model", found.model}, {"usage_token_count", found.usage.token_count},
                    {"all_truncated_tokens", found.truncated_tokens}};
  for (const auto& [name, value] : all.items()) {
    if (expect.contains(name)) equal(name, expect[name], value);
  }
}

/// Numbers are the same if they differ by at most a tolerance.
struct Same {
  double tolerance;

  void numbers(const std::string& name, const Json& expected, const std::vector<float>& found) const;
  void hits(const Json& expected, const std::vector<semserve::Hit>& found) const;
  void matrix(const Json& expect, const std::vector<std::vector<float>>& found) const;
  void sparse(const Json& expect, const semserve::SparseEmbeddings& found) const;
  void scores(const Json& expect, const semserve::Scored<std::vector<semserve::Score>>& found) const;
  void embeddings(const Json& expect, const semserve::Embeddings& found) const;
  void classifications(const Json& expect, const semserve::Classifications& found) const;

  /// The answer of a generated request, whose id is its number, has the vector of its text.
  void generated(const Json& vectors, const std::string& id, const semserve::Embeddings& found) const;
};
