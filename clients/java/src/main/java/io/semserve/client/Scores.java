package io.semserve.client;

import java.util.Map;
import java.util.stream.Collectors;

/**
 * The answer to a request for scores.
 *
 * @param model name of the model that answered
 * @param scores one a pair or text, in their order; NaN for each that has an error
 * @param errors why a pair or text has no score, by its place; empty without {@link
 *     ScoreOptions#partial}
 * @param usage what the request cost
 * @param truncatedTokens tokens that truncation dropped from all pairs or texts
 */
public record Scores(
    String model,
    float[] scores,
    Map<Integer, SemserveException> errors,
    Usage usage,
    int truncatedTokens) {
  static Scores read(io.semserve.v1.ScoreResponse answer) {
    return new Scores(
        answer.getModel(),
        Vectors.copy(answer.getScoresList()),
        answer.getErrorsList().stream()
            .collect(
                Collectors.toUnmodifiableMap(
                    io.semserve.v1.ScoreError::getIndex,
                    error -> SemserveException.of(error.getError()))),
        Usage.read(answer.getUsage()),
        answer.getTruncatedTokens());
  }
}
