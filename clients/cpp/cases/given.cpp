#include "given.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace {

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
  return text;
}

/// A value of an enum of the schema, by the end of its name.
template <class Enum, class Parse>
Enum named(const std::string& kind, const Json& given, const char* field, Parse parse) {
  Enum value{};
  if (!given.contains(field)) return value;
  const auto name = kind + "_" + upper(given[field].get<std::string>());
  if (!parse(name, &value)) throw std::runtime_error("the schema has no " + name);
  return value;
}

template <class T>
std::optional<T> optional(const Json& given, const char* field) {
  return given.contains(field) ? std::optional<T>(given[field].get<T>()) : std::nullopt;
}

/// The options of every call.
template <class Options>
Options common(const Json& given) {
  Options options;
  if (const auto seconds = optional<double>(given, "timeout_s")) {
    options.timeout = std::chrono::milliseconds(static_cast<long>(*seconds * 1000));
  }
  return options;
}

}  // namespace

std::vector<std::string> texts(const Json& given) {
  std::vector<std::string> made;
  for (const auto& one : given) {
    if (one.is_string()) {
      made.push_back(one);
      continue;
    }
    std::string text;
    for (int times = one.value("times", 1); times > 0; --times) text += one["text"].get<std::string>();
    made.insert(made.end(), one.value("copies", 1), text);
  }
  return made;
}

std::vector<semserve::ClassifyPair> pairs(const Json& given) {
  std::vector<semserve::ClassifyPair> made;
  for (const auto& pair : given) {
    made.push_back({pair[0], pair.size() > 1 ? std::optional<std::string>(pair[1]) : std::nullopt});
  }
  return made;
}

std::vector<semserve::TextPair> text_pairs(const Json& given) {
  std::vector<semserve::TextPair> made;
  for (const auto& pair : given) made.emplace_back(pair[0], pair[1]);
  return made;
}

std::string read_file(const std::string& name) {
  std::ifstream file(name);
  std::string content(std::istreambuf_iterator<char>(file), {});
  if (!file) throw std::runtime_error(name + ": cannot be read");
  return content;
}

semserve::v1::Truncation truncation(const Json& given) {
  return named<semserve::v1::Truncation>(
      "TRUNCATION", given, "truncation", [](auto& name, auto* value) { return Truncation_Parse(name, value); });
}

semserve::v1::VectorEncoding encoding(const Json& given) {
  if (!given.contains("encoding")) return semserve::EmbedOptions().encoding;
  return named<semserve::v1::VectorEncoding>("VECTOR_ENCODING", given, "encoding", [](auto& name, auto* value) {
    return VectorEncoding_Parse(name, value);
  });
}

semserve::v1::Metric metric(const Json& given) {
  return named<semserve::v1::Metric>(
      "METRIC", given, "metric", [](auto& name, auto* value) { return Metric_Parse(name, value); });
}

semserve::EmbedOptions embed_options(const Json& given) {
  auto options = common<semserve::EmbedOptions>(given);
  options.model = given.value("model", "");
  options.normalize = optional<bool>(given, "normalize");
  options.dimensions = optional<int>(given, "dimensions");
  options.truncation = truncation(given);
  options.encoding = encoding(given);
  options.partial = given.value("partial", false);
  return options;
}

semserve::PairOptions pair_options(const Json& given) {
  auto options = common<semserve::PairOptions>(given);
  options.model = given.value("model", "");
  options.truncation = truncation(given);
  options.partial = given.value("partial", false);
  return options;
}

semserve::CompareOptions compare_options(const Json& given) {
  auto options = common<semserve::CompareOptions>(given);
  options.model = given.value("model", "");
  options.metric = metric(given);
  return options;
}

semserve::RankOptions rank_options(const Json& given) {
  auto options = common<semserve::RankOptions>(given);
  options.model = given.value("model", "");
  options.metric = metric(given);
  options.top_k = optional<int>(given, "top_k");
  return options;
}

semserve::CallOptions call_options(const Json& given) { return common<semserve::CallOptions>(given); }

semserve::Source<std::string> generated(const Json& generate, std::shared_ptr<Count> count) {
  return [kept = texts(generate["texts"]), end = generate["count"].get<int>(), next = 0,
          count = std::move(count)]() mutable -> std::optional<semserve::Request<std::string>> {
    if (next == end) return std::nullopt;
    const auto place = next++;
    count->most_ahead = std::max(count->most_ahead.load(), next - count->taken.load());
    return semserve::Request<std::string>{std::to_string(place), {kept[place % kept.size()]}};
  };
}
