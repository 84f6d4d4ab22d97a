package io.semserve.client;

import io.grpc.Status;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * The requests of one stream that have no answer yet: those that a server has, and those that will
 * be sent again. Together they never pass the bound, so that a server that sheds load slows its
 * clients down instead of growing their memory. This is the policy of a stream: it has no clock, no
 * lock, and does no input or output.
 */
final class Flight<Q> {
  /** Most bytes of all requests together. One request alone may be larger. */
  static final int MAX_BYTES = 16 << 20;

  private static final class Entry<Q> {
    final String id;
    final Q message;
    final int bytes;
    int attempts = 1;
    Long due; // when it is sent again; null while a server has it

    Entry(String id, Q message, int bytes) {
      this.id = id;
      this.message = message;
      this.bytes = bytes;
    }
  }

  private final Map<String, Entry<Q>> entries = new LinkedHashMap<>();
  private final int bound;
  private long bytes;

  Flight(int bound) {
    this.bound = bound;
  }

  boolean isEmpty() {
    return entries.isEmpty();
  }

  /** Whether a request of so many bytes may be added. */
  boolean fits(int added) {
    return entries.isEmpty() || entries.size() < bound && bytes + added <= MAX_BYTES;
  }

  /** Adds a request that is sent now under a name of the stream's own. */
  void add(String name, String id, Q message, int added) {
    entries.put(name, new Entry<>(id, message, added));
    bytes += added;
  }

  /**
   * Takes an answer.
   *
   * @param now an instant on the caller's clock, in nanoseconds
   * @return the caller's id of the request; empty where it is sent again instead
   * @throws SemserveException INTERNAL if no server has a request of that name
   */
  Optional<String> settle(String name, SemserveException error, long now) {
    Entry<Q> entry = entries.get(name);
    if (entry == null || entry.due != null) {
      throw new SemserveException(
          Status.Code.INTERNAL, "the server answered \"" + name + "\", which was not asked");
    }
    if (error != null) {
      var wait = Retries.wait(error, entry.attempts);
      if (wait.isPresent()) {
        entry.due = now + wait.get().toNanos();
        return Optional.empty();
      }
    }
    entries.remove(name);
    bytes -= entry.bytes;
    return Optional.of(entry.id);
  }

  /** Takes the messages that are due to be sent again. */
  List<Q> takeDue(long now) {
    return entries.values().stream()
        .filter(entry -> entry.due != null && entry.due - now <= 0)
        .map(
            entry -> {
              entry.due = null;
              entry.attempts++;
              return entry.message;
            })
        .toList();
  }

  /** Gives the nanoseconds until a message is due to be sent again; empty where none waits. */
  OptionalLong untilDue(long now) {
    return entries.values().stream()
        .filter(entry -> entry.due != null)
        .mapToLong(entry -> entry.due - now)
        .min();
  }

  /** Gives the messages that a server had when its stream broke, to be sent on another stream. */
  List<Q> sent() {
    return entries.values().stream()
        .filter(entry -> entry.due == null)
        .map(entry -> entry.message)
        .toList();
  }
}
