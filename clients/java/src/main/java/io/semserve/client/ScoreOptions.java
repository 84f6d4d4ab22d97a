package io.semserve.client;

import io.semserve.v1.Metric;
import java.time.Duration;
import java.util.OptionalInt;

/**
 * What compare, rank, search and matrix may ask for. Begin with {@link #DEFAULT}; each method gives
 * changed options and leaves these as they are.
 */
public final class ScoreOptions {
  /** The default model and its own metric; all hits of rank, and ten of search. */
  public static final ScoreOptions DEFAULT =
      new ScoreOptions("", Metric.METRIC_UNSPECIFIED, OptionalInt.empty(), null);

  private final String model;
  private final Metric metric;
  private final OptionalInt topK;
  private final Duration timeout;

  private ScoreOptions(String model, Metric metric, OptionalInt topK, Duration timeout) {
    this.model = model;
    this.metric = metric;
    this.topK = topK;
    this.timeout = timeout;
  }

  /** Names the model to ask. */
  public ScoreOptions model(String name) {
    return new ScoreOptions(name, metric, topK, timeout);
  }

  /** Says how vectors make a score. Higher is always more similar. */
  public ScoreOptions metric(Metric metric) {
    return new ScoreOptions(model, metric, topK, timeout);
  }

  /** Answers rank and search with only the best so many hits. */
  public ScoreOptions topK(int hits) {
    return new ScoreOptions(model, metric, OptionalInt.of(hits), timeout);
  }

  /** Says how long the call may take. */
  public ScoreOptions timeout(Duration timeout) {
    return new ScoreOptions(model, metric, topK, Timeouts.positive(timeout));
  }

  String model() {
    return model;
  }

  Metric wireMetric() {
    return metric;
  }

  OptionalInt topK() {
    return topK;
  }

  Duration timeout() {
    return timeout;
  }
}
