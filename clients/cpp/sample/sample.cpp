// Embeds two sentences, classifies a pair, and streams ten requests of which one is bad.
//
//     sample [HOST:PORT]
//
// The last line is "C++ ok DIMENSIONS COSINE LABEL".

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "semserve/client.h"

namespace {

const std::string kQuestion = "A cat is sitting on a mat.";
const std::vector<std::string> kSentences = {
    "The cat sits on the mat.",
    "A kitten rests on the rug.",
    "The dog sleeps in the garden.",
    "She bought two loaves of bread.",
    "The bakery opens at seven.",
    "Trains to the coast leave every hour.",
    "",  // the one that the server refuses
    "We took the night train to the sea.",
    "It rained for three days.",
    "The sun has not shone since Monday.",
};

std::string variable(const char* name, const char* fallback) {
  const auto* set = std::getenv(name);
  return set ? set : fallback;
}

// Connects to the address of the command line or of SEMSERVE_ADDRESS, with the key of SEMSERVE_KEY and, where
// SEMSERVE_TLS_CA names a certificate, over TLS.
semserve::Client connect(int argc, char** argv) {
  semserve::ClientOptions options;
  options.key = variable("SEMSERVE_KEY", "");
  if (const auto authority = variable("SEMSERVE_TLS_CA", ""); !authority.empty()) {
    std::ifstream file(authority);
    options.root_certificates.assign(std::istreambuf_iterator<char>(file), {});
    if (options.root_certificates.empty()) throw std::runtime_error(authority + ": cannot be read, or is empty");
  }
  return semserve::Client(argc > 1 ? argv[1] : variable("SEMSERVE_ADDRESS", "127.0.0.1:50051"), options);
}

// Embeds each sentence together with the question and shows their cosine, each as soon as it is ready.
void stream(semserve::Client& client) {
  std::vector<semserve::Request<std::string>> requests;
  for (const auto& sentence : kSentences) requests.push_back({sentence, {kQuestion, sentence}});
  for (const auto& answer : client.stream_embed(semserve::source(std::move(requests)))) {
    if (answer.error) {
      std::printf("refused '%s': %s\n", answer.id.c_str(), answer.error->message().c_str());
      continue;
    }
    const auto& results = answer.value().results;
    std::printf("%.4f  %s\n", semserve::cosine(results[0].vector, results[1].vector), answer.id.c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto client = connect(argc, argv);
    const auto embedded = client.embed({kQuestion, kSentences[0]}).results;
    const auto cosine = semserve::cosine(embedded[0].vector, embedded[1].vector);
    const auto classified = client.classify({{"It is raining", "It is sunny"}}).results;
    stream(client);
    std::printf("C++ ok %zu %.4f %s\n", embedded[0].vector.size(), cosine, classified[0].label.c_str());
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "%s\n", failed.what());
    return EXIT_FAILURE;
  }
}
