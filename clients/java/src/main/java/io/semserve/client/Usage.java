package io.semserve.client;

/**
 * What a request cost, in tokens.
 *
 * @param tokenCount tokens of the request's own texts
 * @param paddedTokenCount what was computed for them, their batches' padding included
 */
public record Usage(long tokenCount, long paddedTokenCount) {
  static Usage read(io.semserve.v1.Usage usage) {
    return new Usage(usage.getTokenCount(), usage.getPaddedTokenCount());
  }
}
