// Runs the table of cases that every client passes; tests/clients/CASES.md describes both.
//
//     cases CASES.JSON NAME=HOST:PORT …
//     cases bench HOST:PORT TEXTS

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "run.h"

namespace {

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

/// Runs every case and gives the number of those that failed.
int run_cases(const std::string& file, const std::map<std::string, std::string>& servers) {
  const auto table = Json::parse(read_file(file));
  int failures = 0;
  for (const auto& test_case : table["cases"]) {
    const auto name = test_case["name"].get<std::string>();
    try {
      Run(test_case, table["tolerance"]).run(servers);
      std::cout << "ok " << name << std::endl;
    } catch (const std::exception& failed) {
      ++failures;
      std::cout << "FAILED " << name << ": " << one_line(failed.what()) << std::endl;
    }
  }
  return failures;
}

/// The peak of the process's memory in megabytes.
long peak() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stol(line.substr(6)) / 1024;
  }
  throw std::runtime_error("the peak of the memory is not told");
}

/// Streams so many texts, 32 a request, and prints how fast.
void bench(const std::string& address, int count) {
  const semserve::Client client(address);
  const auto requests = [start = 0, count]() mutable -> std::optional<semserve::Request<std::string>> {
    if (start >= count) return std::nullopt;
    semserve::Request<std::string> request{std::to_string(start), {}};
    for (const int end = std::min(start + 32, count); start < end; ++start) {
      request.items.push_back("text " + std::to_string(start));
    }
    return request;
  };
  std::size_t answered = 0;
  const auto started = std::chrono::steady_clock::now();
  auto answers = client.stream_embed(requests);
  for (const auto& answer : answers) answered += answer.value().results.size();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
  std::cout << "C++ " << answered << " texts " << static_cast<long>(answered / seconds.count()) << " texts/s "
            << peak() << " MB" << std::endl;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 3 && arguments[0] == "bench") {
    bench(arguments[1], std::stoi(arguments[2]));
    return EXIT_SUCCESS;
  }
  std::map<std::string, std::string> servers;
  for (std::size_t place = 1; place < arguments.size(); ++place) {
    const auto equals = arguments[place].find('=');
    servers[arguments[place].substr(0, equals)] = arguments[place].substr(equals + 1);
  }
  return run_cases(arguments.at(0), servers) ? EXIT_FAILURE : EXIT_SUCCESS;
} catch (const std::exception& failed) {
  std::cerr << failed.what() << std::endl;
  return EXIT_FAILURE;
}
