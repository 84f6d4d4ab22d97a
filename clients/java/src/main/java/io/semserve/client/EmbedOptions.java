package io.semserve.client;

import io.semserve.v1.EmbedRequest;
import io.semserve.v1.Side;
import io.semserve.v1.Truncation;
import io.semserve.v1.VectorEncoding;
import java.time.Duration;
import java.util.List;

/**
 * What embed and streamEmbed may ask for. Begin with {@link #DEFAULT}; each method gives changed
 * options and leaves these as they are.
 */
public final class EmbedOptions {
  /** The default model and rules; vectors travel as float32, which is exact. */
  public static final EmbedOptions DEFAULT =
      new EmbedOptions(
          EmbedRequest.newBuilder().setEncoding(VectorEncoding.VECTOR_ENCODING_FLOAT32).build(), null);

  private final EmbedRequest asked;
  private final Duration timeout;

  private EmbedOptions(EmbedRequest asked, Duration timeout) {
    this.asked = asked;
    this.timeout = timeout;
  }

  /** Names the model to ask. */
  public EmbedOptions model(String name) {
    return with(asked.toBuilder().setModel(name));
  }

  /** Says whether to scale each vector to unit length, in place of the model's own way. */
  public EmbedOptions normalize(boolean normalize) {
    return with(asked.toBuilder().setNormalize(normalize));
  }

  /** Keeps only the first so many dimensions, for models trained to be cut. */
  public EmbedOptions dimensions(int dimensions) {
    return with(asked.toBuilder().setDimensions(dimensions));
  }

  /** Says what to do with texts of too many tokens, in place of the model's own rule. */
  public EmbedOptions truncation(Truncation rule) {
    return with(asked.toBuilder().setTruncation(rule));
  }

  /** Chooses the form in which vectors travel; they arrive as float[] in any case. */
  public EmbedOptions encoding(VectorEncoding encoding) {
    return with(asked.toBuilder().setEncoding(encoding));
  }

  /** Answers the good texts even where others are bad: the bad ones carry an error of their own. */
  public EmbedOptions partial() {
    return with(asked.toBuilder().setAllowPartial(true));
  }

  /** Names the prompt to put before each text; an empty name is none. */
  public EmbedOptions prompt(String name) {
    return with(asked.toBuilder().setPromptName(name));
  }

  /** Says which encoder reads the texts, for a model that has one for each side. */
  public EmbedOptions side(Side side) {
    return with(asked.toBuilder().setSide(side));
  }

  /** Says how long the call may take, and a stream may wait for an answer. */
  public EmbedOptions timeout(Duration timeout) {
    return new EmbedOptions(asked, Timeouts.positive(timeout));
  }

  EmbedRequest request(List<String> texts) {
    return asked.toBuilder().addAllTexts(texts).build();
  }

  Duration timeout() {
    return timeout;
  }

  private EmbedOptions with(EmbedRequest.Builder changed) {
    return new EmbedOptions(changed.build(), timeout);
  }
}
