package io.semserve.client;

import java.util.List;

/**
 * The answer to a request for sparse vectors.
 *
 * @param model name of the model that answered
 * @param results one a text, in the order of the texts
 * @param usage what the request cost
 */
public record SparseEmbeddings(String model, List<SparseEmbedding> results, Usage usage) {
  static SparseEmbeddings read(io.semserve.v1.EmbedSparseResponse answer) {
    return new SparseEmbeddings(
        answer.getModel(),
        answer.getResultsList().stream().map(SparseEmbedding::read).toList(),
        Usage.read(answer.getUsage()));
  }
}
