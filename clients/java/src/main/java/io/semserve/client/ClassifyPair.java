package io.semserve.client;

/**
 * Two texts to classify.
 *
 * @param premise what is given
 * @param hypothesis what is asked of it; null for a classifier of single texts
 */
public record ClassifyPair(String premise, String hypothesis) {
  /** A single text, for a classifier of those. */
  public ClassifyPair(String premise) {
    this(premise, null);
  }
}
