package io.semserve.client;

import java.util.Iterator;

/**
 * The answers of a stream, each as soon as it is ready, in any order.
 *
 * <pre>{@code
 * try (AnswerStream<Embeddings> answers = client.streamEmbed(requests)) {
 *   while (answers.hasNext()) {
 *     Answer<Embeddings> answer = answers.next();
 *   }
 * }
 * }</pre>
 *
 * <p>Each request is answered exactly once. A request that fails has an error of its own, and the
 * stream goes on; one that the server shed, or that it had when it went away, is sent again. The
 * timeout bounds the wait for each answer. {@code hasNext} and {@code next} throw a {@link
 * SemserveException} where the stream as a whole fails, and what the caller's iterator threw.
 *
 * <p>Another thread reads the requests, at most as far ahead of the answers as the client's
 * {@code inFlight} says. One thread reads the answers. To close the stream ends it, and the reading.
 */
public interface AnswerStream<R> extends Iterator<Answer<R>>, AutoCloseable {
  /** The most requests of one stream that have no answer yet, unless the client says otherwise. */
  int DEFAULT_IN_FLIGHT = 8;

  @Override
  void close();
}
