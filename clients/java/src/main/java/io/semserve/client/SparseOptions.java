package io.semserve.client;

import io.semserve.v1.EmbedSparseRequest;
import io.semserve.v1.Truncation;
import java.time.Duration;
import java.util.List;

/**
 * What embedSparse may ask for. Begin with {@link #DEFAULT}; each method gives changed options and
 * leaves these as they are.
 */
public final class SparseOptions {
  /** The default model and rules, with every weight above 0. */
  public static final SparseOptions DEFAULT =
      new SparseOptions(EmbedSparseRequest.getDefaultInstance(), null);

  private final EmbedSparseRequest asked;
  private final Duration timeout;

  private SparseOptions(EmbedSparseRequest asked, Duration timeout) {
    this.asked = asked;
    this.timeout = timeout;
  }

  /** Names the model to ask. */
  public SparseOptions model(String name) {
    return with(asked.toBuilder().setModel(name));
  }

  /** Keeps only the largest so many weights of each text. */
  public SparseOptions topK(int weights) {
    return with(asked.toBuilder().setTopK(weights));
  }

  /** Says what to do with texts of too many tokens, in place of the model's own rule. */
  public SparseOptions truncation(Truncation rule) {
    return with(asked.toBuilder().setTruncation(rule));
  }

  /** Answers the good texts even where others are bad: the bad ones carry an error of their own. */
  public SparseOptions partial() {
    return with(asked.toBuilder().setAllowPartial(true));
  }

  /** Names the prompt to put before each text; an empty name is none. */
  public SparseOptions prompt(String name) {
    return with(asked.toBuilder().setPromptName(name));
  }

  /** Answers also with the tokens as they are written in the vocabulary. */
  public SparseOptions tokens() {
    return with(asked.toBuilder().setIncludeTokens(true));
  }

  /** Says how long the call may take. */
  public SparseOptions timeout(Duration timeout) {
    return new SparseOptions(asked, Timeouts.positive(timeout));
  }

  EmbedSparseRequest request(List<String> texts) {
    return asked.toBuilder().addAllTexts(texts).build();
  }

  Duration timeout() {
    return timeout;
  }

  private SparseOptions with(EmbedSparseRequest.Builder changed) {
    return new SparseOptions(changed.build(), timeout);
  }
}
