#include "retry.h"

#include <algorithm>
#include <random>

#include "error.h"

namespace semserve {
namespace {

// What the service config says of UNAVAILABLE, for what the client sends again by itself.
constexpr int kMaxAttempts = 4;
constexpr std::chrono::milliseconds kInitialBackoff{100};
constexpr std::chrono::milliseconds kMaxBackoff{2000};
constexpr double kJitter = 0.2;

std::chrono::milliseconds backoff(int failures) {
  thread_local std::minstd_rand chance{std::random_device{}()};
  const auto doubled = std::min(kInitialBackoff * (1 << std::min(failures - 1, 16)), kMaxBackoff);
  std::uniform_real_distribution<double> jitter(1 - kJitter, 1 + kJitter);
  return std::chrono::milliseconds(static_cast<long>(static_cast<double>(doubled.count()) * jitter(chance)));
}

}  // namespace

std::string service_config(bool health_checks) {
  const std::string health = health_checks ? R"("healthCheckConfig": {"serviceName": ""},)" : "";
  return "{" + health + R"(
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{
      "name": [
        {"service": "semserve.v1.EmbeddingService"},
        {"service": "semserve.v1.ClassificationService"},
        {"service": "semserve.v1.ScoreService"},
        {"service": "semserve.v1.SimilarityService"},
        {"service": "semserve.v1.ModelService"}
      ],
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    }],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1}
  })";
}

std::optional<std::chrono::milliseconds> retry_after(const Error& error, int attempt, Retries retries) {
  const bool is_outage = error.code() == StatusCode::UNAVAILABLE;
  const bool retried = error.code() == StatusCode::RESOURCE_EXHAUSTED ||
                       (is_outage && retries == Retries::kOverloadAndOutage);
  if (!retried || ErrorBuilder::is_final(error) || attempt >= kMaxAttempts) return std::nullopt;
  return error.retry_after() ? *error.retry_after() : backoff(attempt);
}

}  // namespace semserve
