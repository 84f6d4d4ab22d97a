package io.semserve.client;

/**
 * The outcome of one text: it has either a vector or an error.
 *
 * @param vector the text's vector; null where there is an error
 * @param error why the text has no vector, else null; never set without {@link EmbedOptions#partial}
 * @param tokenCount tokens of the text, special tokens included, after truncation
 * @param truncatedTokens tokens that truncation dropped
 */
public record Embedding(
    float[] vector, SemserveException error, int tokenCount, int truncatedTokens) {
  static Embedding read(io.semserve.v1.EmbedResult result) {
    return new Embedding(
        result.hasEmbedding() ? Vectors.unpack(result.getEmbedding()) : null,
        result.hasEmbedding() ? null : SemserveException.of(result.getError()),
        result.getTokenCount(),
        result.getTruncatedTokens());
  }
}
