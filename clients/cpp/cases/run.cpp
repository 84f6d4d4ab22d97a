#include "run.h"

#include <cstdlib>
#include <set>
#include <sstream>
#include <thread>

namespace {

std::string variable(const char* name) {
  const auto* set = std::getenv(name);
  if (!set) throw std::runtime_error(std::string(name) + " is not set");
  return set;
}

template <class Item, class Read>
semserve::Source<Item> requests(const Json& given, const char* field, Read read) {
  std::vector<semserve::Request<Item>> made;
  for (const auto& one : given["requests"]) made.push_back({one["id"], read(one[field])});
  return semserve::source(std::move(made));
}

}  // namespace

void Run::run(const std::map<std::string, std::string>& servers) {
  if (call_ == "connect") return is_refused();
  const auto made = client(servers);
  if (given_.value("cancel", false)) return is_cancelled(made);
  if (!expect_.contains("error")) return ask(made, std::nullopt);
  try {
    ask(made, std::nullopt);
  } catch (const semserve::Error& error) {
    return error_is_as_expected(expect_["error"], error);
  }
  throw Failed("answered; expected " + expect_["error"].dump());
}

semserve::Client Run::client(const std::map<std::string, std::string>& servers) const {
  std::vector<std::string> addresses;
  std::istringstream names(names_);
  for (std::string name; std::getline(names, name, '+');) addresses.push_back(servers.at(name));
  semserve::ClientOptions options;
  options.in_flight = given_.value("in_flight", options.in_flight);
  if (names_ == "secured") {
    options.root_certificates = read_file(variable("SEMSERVE_TLS_CA"));
    options.key = given_.contains("key") ? given_["key"].get<std::string>() : variable("SEMSERVE_KEY");
  }
  return semserve::Client(addresses, options);
}

void Run::is_refused() const {
  semserve::ClientOptions options;
  options.key = given_.value("key", "");
  try {
    semserve::Client(given_.value("address", "127.0.0.1:50051"), options);
  } catch (const semserve::Error&) {
    return;
  }
  throw Failed("a client was made");
}

void Run::is_cancelled(const semserve::Client& client) const {
  semserve::Cancellation cancellation;
  std::thread cancelling([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    cancellation.cancel();
  });
  std::string told = "the call was answered";
  try {
    ask(client, cancellation);
  } catch (const semserve::Error& error) {
    told = error.code() == semserve::StatusCode::CANCELLED ? "" : error.what();
  }
  cancelling.join();
  if (!told.empty()) throw Failed(told);
}

void Run::ask(const semserve::Client& client, const std::optional<semserve::Cancellation>& cancellation) const {
  const auto options = call_options(given_);
  const auto model = given_.value("model", "");
  if (call_ == "embed") {
    auto embedding = embed_options(given_);
    embedding.cancellation = cancellation;
    same_.embeddings(expect_, client.embed(texts(given_["texts"]), embedding));
  } else if (call_ == "classify") {
    same_.classifications(expect_, client.classify(pairs(given_["pairs"]), pair_options(given_)));
  } else if (call_ == "models") {
    models_are_as_expected(expect_["models"], client.models(options));
  } else if (call_ == "model") {
    models_are_as_expected(expect_["models"], {client.model(model, options)});
  } else if (call_ == "load_model") {
    client.load_model(model, options);
  } else if (call_ == "tokenize") {
    tokens_are_as_expected(expect_["results"], client.tokenize(texts(given_["texts"]), model, options));
  } else if (call_ == "health") {
    equal("serving", expect_["serving"], client.healthy(model, options));
  } else if (call_ == "failover_calls") {
    failover_calls(client);
  } else if (call_ == "failover_streams") {
    failover_streams(client);
  } else if (call_.rfind("stream_", 0) == 0) {
    ask_stream(client, cancellation);
  } else {
    ask_similarity(client);
  }
}

void Run::ask_similarity(const semserve::Client& client) const {
  if (call_ == "compare") {
    const auto found = client.compare(text_pairs(given_["pairs"]), compare_options(given_));
    totals_are_as_expected(expect_, found);
    same_.numbers("scores", expect_["scores"], found.scores);
  } else if (call_ == "rank") {
    const auto found = client.rank(given_["query"], texts(given_["documents"]), rank_options(given_));
    totals_are_as_expected(expect_, found);
    same_.hits(expect_["hits"], found.scores);
  } else if (call_ == "search") {
    const auto options = rank_options(given_);
    const auto answer = client.search(texts(given_["queries"]), texts(given_["corpus"]), options);
    totals_are_as_expected(expect_, answer);
    const auto& found = answer.scores;
    equal("results", expect_["results"].size(), found.size());
    for (std::size_t place = 0; place < found.size(); ++place) same_.hits(expect_["results"][place], found[place]);
  } else if (call_ == "matrix") {
    const auto right = texts(given_.value("right", Json::array()));
    const auto found = client.matrix(texts(given_["left"]), right, compare_options(given_));
    totals_are_as_expected(expect_, found);
    same_.matrix(expect_, found.scores);
  } else {
    ask_kinds(client);
  }
}

// The calls that few kinds of models answer, and the server's description.
void Run::ask_kinds(const semserve::Client& client) const {
  if (call_ == "embed_sparse") {
    same_.sparse(expect_, client.embed_sparse(texts(given_["texts"]), sparse_options(given_)));
  } else if (call_ == "score" && given_.contains("texts")) {
    same_.scores(expect_, client.score_texts(texts(given_["texts"]), pair_options(given_)));
  } else if (call_ == "score") {
    same_.scores(expect_, client.score(text_pairs(given_["pairs"]), pair_options(given_)));
  } else if (call_ == "rerank") {
    const auto found = client.rerank(given_["query"], texts(given_["documents"]), rerank_options(given_));
    totals_are_as_expected(expect_, found);
    same_.hits(expect_["hits"], found.scores);
  } else if (call_ == "server_info") {
    server_is_as_expected(expect_, client.server_info(call_options(given_)));
  } else {
    throw Failed("the runner does not know the call " + call_);
  }
}

void Run::ask_stream(
    const semserve::Client& client, const std::optional<semserve::Cancellation>& cancellation) const {
  if (given_.contains("generate")) return ask_generated(client);
  if (call_ == "stream_classify") {
    auto source = requests<semserve::ClassifyPair>(given_, "pairs", pairs);
    same_answers(client.stream_classify(std::move(source), pair_options(given_)),
                 [&](const Json& expected, const auto& found) { same_.classifications(expected, found); });
    return;
  }
  auto options = embed_options(given_);
  options.cancellation = cancellation;
  same_answers(client.stream_embed(requests<std::string>(given_, "texts", texts), options),
               [&](const Json& expected, const auto& found) { same_.embeddings(expected, found); });
}

template <class Result, class Compare>
void Run::same_answers(semserve::Answers<Result> answers, Compare compare) const {
  std::set<std::string> seen;
  for (const auto& answer : answers) {
    if (!seen.insert(answer.id).second) throw Failed("'" + answer.id + "' was answered twice");
    const auto& expected = expect_["answers"].at(answer.id);
    if (!expected.contains("error")) {
      compare(expected, answer.value());
    } else if (answer.error) {
      error_is_as_expected(expected["error"], *answer.error);
    } else {
      throw Failed("answered; expected " + expected.dump());
    }
  }
  equal("answered", expect_["answers"].size(), seen.size());
}

void Run::ask_generated(const semserve::Client& client) const {
  const auto count = std::make_shared<Count>();
  const int leave_after = given_.value("leave_after", 0);
  std::set<std::string> taken;
  {
    auto answers = client.stream_embed(generated(given_["generate"], count), embed_options(given_));
    for (const auto& answer : answers) {
      ++count->taken;
      same_.generated(expect_["vectors"], answer.id, answer.value());
      taken.insert(answer.id);
      if (static_cast<int>(taken.size()) == leave_after) break;
    }
  }
  equal("holders of the source", 1, count.use_count());
  equal("answered", leave_after ? leave_after : expect_["count"].get<int>(), taken.size());
  if (expect_.contains("max_ahead") && count->most_ahead > expect_["max_ahead"].get<int>()) {
    throw Failed(std::to_string(count->most_ahead) + " requests ahead, not " + expect_["max_ahead"].dump());
  }
  client.embed({"another"});
}
