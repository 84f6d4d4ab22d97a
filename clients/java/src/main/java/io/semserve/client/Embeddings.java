package io.semserve.client;

import java.util.List;

/**
 * The answer to a request to embed.
 *
 * @param model name of the model that answered
 * @param results one a text, in the order of the texts
 * @param usage what the request cost
 */
public record Embeddings(String model, List<Embedding> results, Usage usage) {
  static Embeddings read(io.semserve.v1.EmbedResponse answer) {
    return new Embeddings(
        answer.getModel(),
        answer.getResultsList().stream().map(Embedding::read).toList(),
        Usage.read(answer.getUsage()));
  }

  /** The vectors of all results, null for each that has an error. */
  public float[][] vectors() {
    return results.stream().map(Embedding::vector).toArray(float[][]::new);
  }
}
