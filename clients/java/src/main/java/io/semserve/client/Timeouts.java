package io.semserve.client;

import java.time.Duration;

/** How long a call may take. */
final class Timeouts {
  /** Longer ones are as good as none, and their nanoseconds would overflow. */
  private static final Duration LONGEST = Duration.ofDays(3650);

  private Timeouts() {}

  /**
   * Gives a timeout that can be counted in nanoseconds.
   *
   * @throws IllegalArgumentException if it is not positive
   */
  static Duration positive(Duration timeout) {
    if (timeout.isNegative() || timeout.isZero()) {
      throw new IllegalArgumentException("timeout is " + timeout + ", not positive");
    }
    return timeout.compareTo(LONGEST) > 0 ? LONGEST : timeout;
  }
}
