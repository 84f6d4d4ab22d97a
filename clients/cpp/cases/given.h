// What a case gives: its texts, its options, and generated requests.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "semserve/client.h"

using Json = nlohmann::json;

/// Strings, and objects that say how often a text is repeated and copied.
std::vector<std::string> texts(const Json& given);
std::vector<semserve::ClassifyPair> pairs(const Json& given);
std::vector<semserve::TextPair> text_pairs(const Json& given);
std::string read_file(const std::string& name);

semserve::v1::Truncation truncation(const Json& given);
semserve::v1::VectorEncoding encoding(const Json& given);
semserve::v1::Metric metric(const Json& given);

/// The options that a kind of call has, as a case gives them.
semserve::EmbedOptions embed_options(const Json& given);
semserve::PairOptions pair_options(const Json& given);
semserve::CompareOptions compare_options(const Json& given);
semserve::RankOptions rank_options(const Json& given);
semserve::CallOptions call_options(const Json& given);

/// How far a generated source was read ahead of the answers that were taken.
struct Count {
  std::atomic<int> taken{0}, most_ahead{0};
};

/// Requests that are made as they are read. The count is let go when the source is.
semserve::Source<std::string> generated(const Json& generate, std::shared_ptr<Count> count);
