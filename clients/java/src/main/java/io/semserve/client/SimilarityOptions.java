package io.semserve.client;

import io.semserve.v1.CompareRequest;
import io.semserve.v1.MatrixRequest;
import io.semserve.v1.Metric;
import io.semserve.v1.RankRequest;
import io.semserve.v1.SearchRequest;
import java.time.Duration;

/**
 * What compare, rank, search and matrix may ask for. Begin with {@link #DEFAULT}; each method gives
 * changed options and leaves these as they are.
 */
public final class SimilarityOptions {
  /** The default model, its own metric and prompt; all hits of rank, and ten of search. */
  public static final SimilarityOptions DEFAULT =
      new SimilarityOptions("", Metric.METRIC_UNSPECIFIED, null, null, null, null);

  private final String model;
  private final Metric metric;
  private final Integer topK;
  private final String prompt;
  private final String otherPrompt;
  private final Duration timeout;

  private SimilarityOptions(
      String model,
      Metric metric,
      Integer topK,
      String prompt,
      String otherPrompt,
      Duration timeout) {
    this.model = model;
    this.metric = metric;
    this.topK = topK;
    this.prompt = prompt;
    this.otherPrompt = otherPrompt;
    this.timeout = timeout;
  }

  /** Names the model to ask. */
  public SimilarityOptions model(String name) {
    return new SimilarityOptions(name, metric, topK, prompt, otherPrompt, timeout);
  }

  /** Says how vectors make a score. Higher is always more similar. */
  public SimilarityOptions metric(Metric metric) {
    return new SimilarityOptions(model, metric, topK, prompt, otherPrompt, timeout);
  }

  /** Answers rank and search with only the best so many hits. */
  public SimilarityOptions topK(int hits) {
    return new SimilarityOptions(model, metric, hits, prompt, otherPrompt, timeout);
  }

  /** Names the prompt to put before each text; an empty name is none. */
  public SimilarityOptions prompt(String name) {
    return new SimilarityOptions(model, metric, topK, name, otherPrompt, timeout);
  }

  /** Names the prompt of right texts, documents and the corpus, where it is another. */
  public SimilarityOptions otherPrompt(String name) {
    return new SimilarityOptions(model, metric, topK, prompt, name, timeout);
  }

  /** Says how long the call may take. */
  public SimilarityOptions timeout(Duration timeout) {
    return new SimilarityOptions(
        model, metric, topK, prompt, otherPrompt, Timeouts.positive(timeout));
  }

  Duration timeout() {
    return timeout;
  }

  CompareRequest.Builder compare() {
    CompareRequest.Builder request =
        CompareRequest.newBuilder().setModel(model).setMetric(metric);
    if (prompt != null) {
      request.setPromptName(prompt);
    }
    return otherPrompt == null ? request : request.setRightPromptName(otherPrompt);
  }

  MatrixRequest.Builder matrix() {
    MatrixRequest.Builder request = MatrixRequest.newBuilder().setModel(model).setMetric(metric);
    if (prompt != null) {
      request.setPromptName(prompt);
    }
    return otherPrompt == null ? request : request.setRightPromptName(otherPrompt);
  }

  RankRequest.Builder rank() {
    RankRequest.Builder request = RankRequest.newBuilder().setModel(model).setMetric(metric);
    if (topK != null) {
      request.setTopK(topK);
    }
    if (prompt != null) {
      request.setPromptName(prompt);
    }
    return otherPrompt == null ? request : request.setDocumentPromptName(otherPrompt);
  }

  SearchRequest.Builder search() {
    SearchRequest.Builder request = SearchRequest.newBuilder().setModel(model).setMetric(metric);
    if (topK != null) {
      request.setTopK(topK);
    }
    if (prompt != null) {
      request.setPromptName(prompt);
    }
    return otherPrompt == null ? request : request.setDocumentPromptName(otherPrompt);
  }
}
