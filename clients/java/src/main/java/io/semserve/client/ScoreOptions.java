package io.semserve.client;

import io.semserve.v1.RerankRequest;
import io.semserve.v1.ScoreRequest;
import io.semserve.v1.Truncation;
import java.time.Duration;

/**
 * What score, scoreTexts and rerank may ask for. Begin with {@link #DEFAULT}; each method gives
 * changed options and leaves these as they are.
 */
public final class ScoreOptions {
  /** The default model and rules; all hits of rerank. */
  public static final ScoreOptions DEFAULT =
      new ScoreOptions("", Truncation.TRUNCATION_UNSPECIFIED, false, null, null);

  private final String model;
  private final Truncation truncation;
  private final boolean partial;
  private final Integer topK;
  private final Duration timeout;

  private ScoreOptions(
      String model, Truncation truncation, boolean partial, Integer topK, Duration timeout) {
    this.model = model;
    this.truncation = truncation;
    this.partial = partial;
    this.topK = topK;
    this.timeout = timeout;
  }

  /** Names the model to ask. */
  public ScoreOptions model(String name) {
    return new ScoreOptions(name, truncation, partial, topK, timeout);
  }

  /** Says what to do with pairs or texts of too many tokens, in place of the model's own rule. */
  public ScoreOptions truncation(Truncation rule) {
    return new ScoreOptions(model, rule, partial, topK, timeout);
  }

  /** Has score answer the good pairs even where others are bad; rerank has no such answer. */
  public ScoreOptions partial() {
    return new ScoreOptions(model, truncation, true, topK, timeout);
  }

  /** Has rerank answer with only the best so many hits. */
  public ScoreOptions topK(int hits) {
    return new ScoreOptions(model, truncation, partial, hits, timeout);
  }

  /** Says how long the call may take. */
  public ScoreOptions timeout(Duration timeout) {
    return new ScoreOptions(model, truncation, partial, topK, Timeouts.positive(timeout));
  }

  Duration timeout() {
    return timeout;
  }

  ScoreRequest.Builder score() {
    if (topK != null) {
      throw new IllegalArgumentException("topK is for rerank: score answers every pair");
    }
    return ScoreRequest.newBuilder()
        .setModel(model)
        .setTruncation(truncation)
        .setAllowPartial(partial);
  }

  RerankRequest.Builder rerank() {
    if (partial) {
      throw new IllegalArgumentException("partial is for score: rerank answers all or nothing");
    }
    RerankRequest.Builder request =
        RerankRequest.newBuilder().setModel(model).setTruncation(truncation);
    return topK == null ? request : request.setTopK(topK);
  }
}
