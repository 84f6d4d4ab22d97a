package io.semserve.client;

import java.util.List;

/**
 * The sparse vector of one text; it has no weights where it has an error.
 *
 * @param indices ids of tokens of the vocabulary, ascending
 * @param values the weight of each, above 0
 * @param tokens each of the ids as written in the vocabulary; empty without {@link
 *     SparseOptions#tokens}
 * @param error why the text has no weights, else null; never set without {@link
 *     SparseOptions#partial}
 * @param tokenCount tokens of the text, special tokens included, after truncation
 * @param truncatedTokens tokens that truncation dropped
 */
public record SparseEmbedding(
    int[] indices,
    float[] values,
    List<String> tokens,
    SemserveException error,
    int tokenCount,
    int truncatedTokens) {
  static SparseEmbedding read(io.semserve.v1.EmbedSparseResult result) {
    return new SparseEmbedding(
        result.getIndicesList().stream().mapToInt(Integer::intValue).toArray(),
        Vectors.copy(result.getValuesList()),
        List.copyOf(result.getTokensList()),
        result.hasError() ? SemserveException.of(result.getError()) : null,
        result.getTokenCount(),
        result.getTruncatedTokens());
  }
}
