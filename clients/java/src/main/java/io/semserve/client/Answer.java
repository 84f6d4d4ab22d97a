package io.semserve.client;

/**
 * The answer to one request of a stream: it has either a result or an error.
 *
 * @param id of the request
 * @param result what a unary call would have answered; null where there is an error
 * @param error what a unary call would have thrown; null where there is a result
 */
public record Answer<R>(String id, R result, SemserveException error) {}
