/**
 * The Java client of semserve, a gRPC server for semantic similarity. Begin with
 * {@link io.semserve.client.SemserveClient}.
 */
package io.semserve.client;
