package io.semserve.client;

/** Two texts to compare. */
public record ComparePair(String left, String right) {}
