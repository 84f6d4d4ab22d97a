#include "compare.h"

#include <algorithm>
#include <cmath>

namespace {

/// The texts or pairs that are expected to have errors have them, and no others.
template <class Results>
void errors_are_as_expected(const Json& expect, const Results& results) {
  const auto expected = expect.value("errors", Json::object());
  for (std::size_t place = 0; place < results.size(); ++place) {
    const auto name = std::to_string(place);
    equal("error of " + name, expected.contains(name), results[place].error.has_value());
    if (results[place].error) error_is_as_expected(expected[name], *results[place].error);
  }
}

std::string task_name(semserve::v1::Task task) {
  auto name = semserve::v1::Task_Name(task).substr(std::string("TASK_").size());
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

}  // namespace

void equal(const std::string& name, const Json& expected, const Json& found) {
  if (expected != found) throw Failed(name + ": expected " + expected.dump() + ", found " + found.dump());
}

void error_is_as_expected(const Json& expected, const semserve::Error& error) {
  if (expected["code"] != semserve::code_name(error.code())) {
    throw Failed("expected " + expected.dump() + ", found " + error.what());
  }
  if (expected.contains("fields")) {
    auto fields = Json::array();
    for (const auto& violation : error.violations()) fields.push_back(violation.field);
    equal("fields", expected["fields"], fields);
  }
  if (expected.contains("retry_after_s")) {
    const double found = error.retry_after() ? error.retry_after()->count() / 1000.0 : -1;
    const auto& bounds = expected["retry_after_s"];
    if (found < bounds[0] || found > bounds[1]) {
      throw Failed("retry after " + std::to_string(found) + " s, not " + bounds.dump());
    }
  }
}

void models_are_as_expected(const Json& expected, const std::vector<semserve::v1::ModelInfo>& found) {
  equal("models", expected.size(), found.size());
  for (std::size_t place = 0; place < found.size(); ++place) {
    const auto& model = found[place];
    const Json all = {
        {"name", model.name()},
        {"task", task_name(model.task())},
        {"dimensions", model.dimensions()},
        {"labels", std::vector<std::string>(model.labels().begin(), model.labels().end())},
        {"max_sequence_length", model.max_sequence_length()},
        {"takes_pairs", model.takes_pairs()},
    };
    for (const auto& [field, value] : expected[place].items()) equal(field, value, all.at(field));
  }
}

void tokens_are_as_expected(const Json& expected, const std::vector<semserve::v1::TokenizeResult>& found) {
  equal("results", expected.size(), found.size());
  for (std::size_t place = 0; place < found.size(); ++place) {
    const auto& one = found[place];
    const auto list = [](const auto& field) { return Json(std::vector(field.begin(), field.end())); };
    const Json all = {{"tokens", list(one.tokens())}, {"ids", list(one.ids())}, {"starts", list(one.starts())},
                      {"ends", list(one.ends())}, {"truncated_tokens", one.truncated_tokens()}};
    for (const auto& [field, value] : expected[place].items()) equal(field, value, all.at(field));
  }
}

void Same::numbers(const std::string& name, const Json& expected, const std::vector<float>& found) const {
  const auto is_close = [&](const Json& left, float right) { return std::abs(left.get<double>() - right) <= tolerance; };
  if (expected.size() != found.size() || !std::equal(expected.begin(), expected.end(), found.begin(), is_close)) {
    throw Failed(name + ": expected " + expected.dump() + ", found " + Json(found).dump());
  }
}

void Same::hits(const Json& expected, const std::vector<semserve::Hit>& found) const {
  equal("hits", expected.size(), found.size());
  for (std::size_t place = 0; place < found.size(); ++place) {
    equal("index", expected[place][0], found[place].index);
    numbers("score", Json::array({expected[place][1]}), {found[place].score});
  }
}

void Same::matrix(const Json& expect, const std::vector<std::vector<float>>& found) const {
  if (expect.contains("each_score")) {
    equal("rows", expect["count"], found.size());
    const Json row(found.size(), expect["each_score"]);
    for (const auto& one : found) numbers("row", row, one);
    return;
  }
  equal("rows", expect["rows"].size(), found.size());
  for (std::size_t place = 0; place < found.size(); ++place) numbers("row", expect["rows"][place], found[place]);
}

void Same::embeddings(const Json& expect, const semserve::Embeddings& found) const {
  const auto& results = found.results;
  if (expect.contains("each")) {
    equal("count", expect["count"], results.size());
    for (const auto& result : results) numbers("vector", expect["each"], result.vector);
  }
  if (expect.contains("vectors")) {
    equal("vectors", expect["vectors"].size(), results.size());
    for (std::size_t place = 0; place < results.size(); ++place) {
      const auto& vector = expect["vectors"][place];
      numbers("vector", vector.is_null() ? Json::array() : vector, results[place].vector);
    }
  }
  Json all = {{"model", found.model}, {"usage_token_count", found.usage.token_count},
              {"token_counts", Json::array()}, {"truncated_tokens", Json::array()}};
  for (const auto& result : results) {
    all["token_counts"].push_back(result.token_count);
    all["truncated_tokens"].push_back(result.truncated_tokens);
  }
  for (const auto& [name, value] : all.items()) {
    if (expect.contains(name)) equal(name, expect[name], value);
  }
  errors_are_as_expected(expect, results);
}

void Same::classifications(const Json& expect, const semserve::Classifications& found) const {
  if (expect.contains("model")) equal("model", expect["model"], found.model);
  for (const auto* name : {"labels", "scores", "logits"}) {
    if (expect.contains(name)) equal("results", expect[name].size(), found.results.size());
  }
  for (std::size_t place = 0; place < found.results.size(); ++place) {
    const auto& result = found.results[place];
    if (result.error) continue;
    std::vector<float> scores;
    std::vector<std::string> classes;
    for (const auto& one : result.scores) {
      scores.push_back(one.score);
      classes.push_back(one.label);
    }
    if (expect.contains("labels")) equal("label", expect["labels"][place], result.label);
    if (expect.contains("classes")) equal("classes", expect["classes"], classes);
    if (expect.contains("scores")) numbers("scores", expect["scores"][place], scores);
    if (expect.contains("logits")) numbers("logits", expect["logits"][place], result.logits);
  }
  errors_are_as_expected(expect, found.results);
}

void Same::generated(const Json& vectors, const std::string& id, const semserve::Embeddings& found) const {
  equal("vectors", 1, found.results.size());
  numbers("vector", vectors[std::stoul(id) % vectors.size()], found.results[0].vector);
}
