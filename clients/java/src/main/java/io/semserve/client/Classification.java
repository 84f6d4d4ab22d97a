package io.semserve.client;

import java.util.List;

/**
 * The outcome of one pair: it has either a label or an error.
 *
 * @param label the label of the highest score; empty where there is an error
 * @param scores every label with its score, in the order of the model's labels
 * @param logits the model's raw outputs in the same order
 * @param error why the pair has no label, else null; never set without {@link
 *     ClassifyOptions#partial}
 * @param tokenCount tokens of the pair, special tokens included, after truncation
 * @param truncatedTokens tokens that truncation dropped
 */
public record Classification(
    String label,
    List<LabelScore> scores,
    float[] logits,
    SemserveException error,
    int tokenCount,
    int truncatedTokens) {
  /** A label with its probability, from 0 to 1. */
  public record LabelScore(String label, float score) {}

  static Classification read(io.semserve.v1.ClassifyResult result) {
    io.semserve.v1.Classification found = result.getClassification();
    return new Classification(
        found.getLabel(),
        found.getScoresList().stream()
            .map(one -> new LabelScore(one.getLabel(), one.getScore()))
            .toList(),
        Vectors.copy(found.getLogitsList()),
        result.hasClassification() ? null : SemserveException.of(result.getError()),
        result.getTokenCount(),
        result.getTruncatedTokens());
  }
}
