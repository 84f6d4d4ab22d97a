package io.semserve.client;

import java.util.List;

/**
 * The answer to a request to classify.
 *
 * @param model name of the model that answered
 * @param results one a pair, in the order of the pairs
 * @param usage what the request cost
 */
public record Classifications(String model, List<Classification> results, Usage usage) {
  static Classifications read(io.semserve.v1.ClassifyResponse answer) {
    return new Classifications(
        answer.getModel(),
        answer.getResultsList().stream().map(Classification::read).toList(),
        Usage.read(answer.getUsage()));
  }
}
