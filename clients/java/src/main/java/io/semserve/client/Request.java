package io.semserve.client;

import java.util.List;

/**
 * One request of a stream: texts or pairs under a name of the caller's.
 *
 * @param id comes back with the answer; it is not sent, so any string will do
 * @param items what a unary call would take
 */
public record Request<T>(String id, List<T> items) {}
