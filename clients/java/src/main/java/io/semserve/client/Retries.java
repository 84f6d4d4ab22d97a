package io.semserve.client;

import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ThreadLocalRandom;

/** When what a server could not take is sent again. */
final class Retries {
  private static final int MAX_ATTEMPTS = 4;
  private static final Duration INITIAL_BACKOFF = Duration.ofMillis(100);
  private static final Duration MAX_BACKOFF = Duration.ofSeconds(2);
  private static final double JITTER = 0.2;

  private Retries() {}

  /**
   * The gRPC service config: it balances over every address that is healthy. It has no retry policy,
   * because this library of gRPC's follows a server's hint when to come back whatever the status,
   * and past the deadline: {@link #wait} decides instead.
   */
  static Map<String, Object> serviceConfig(boolean healthChecks) {
    Map<String, Object> config = new TreeMap<>();
    config.put("loadBalancingConfig", List.of(Map.of("round_robin", Map.of())));
    if (healthChecks) {
      config.put("healthCheckConfig", Map.of("serviceName", ""));
    }
    return config;
  }

  /**
   * Gives the wait before a request is sent again that failed at its first, second, … attempt;
   * empty where it is not sent again. The server's own hint takes the place of the back-off.
   */
  static Optional<Duration> wait(SemserveException failed, int attempt) {
    boolean retried =
        failed.code() == Status.Code.RESOURCE_EXHAUSTED
            || failed.code() == Status.Code.UNAVAILABLE;
    if (!retried || attempt >= MAX_ATTEMPTS || failed.isFinal()) {
      return Optional.empty();
    }
    if (failed.retryAfter().isPresent()) {
      return failed.retryAfter();
    }
    Duration backoff = INITIAL_BACKOFF.multipliedBy(1L << (attempt - 1));
    long nanos = (backoff.compareTo(MAX_BACKOFF) > 0 ? MAX_BACKOFF : backoff).toNanos();
    double jitter = 1 + JITTER * (2 * ThreadLocalRandom.current().nextDouble() - 1);
    return Optional.of(Duration.ofNanos((long) (nanos * jitter)));
  }
}
