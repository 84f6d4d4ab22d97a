package io.semserve.client;

/**
 * What the texts of a request score.
 *
 * @param <T> an array or a list of scores or of hits, or of such lists
 * @param model name of the model that answered
 * @param scores the scores, or the hits, in the order that the method names
 * @param usage what the request cost
 * @param truncatedTokens tokens that truncation dropped from all texts
 */
public record Scored<T>(String model, T scores, Usage usage, int truncatedTokens) {}
