package io.semserve.client;

import java.util.List;

/**
 * One text that was found.
 *
 * @param index its place, from 0, in the documents or the corpus of the request
 * @param score higher is more similar
 */
public record Hit(int index, float score) {
  static List<Hit> read(List<io.semserve.v1.Hit> hits) {
    return hits.stream().map(hit -> new Hit(hit.getIndex(), hit.getScore())).toList();
  }
}
