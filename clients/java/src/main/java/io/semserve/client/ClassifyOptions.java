package io.semserve.client;

import io.semserve.v1.ClassifyRequest;
import io.semserve.v1.Truncation;
import java.time.Duration;
import java.util.List;

/**
 * What classify and streamClassify may ask for. Begin with {@link #DEFAULT}; each method gives
 * changed options and leaves these as they are.
 */
public final class ClassifyOptions {
  /** The default model and rules. */
  public static final ClassifyOptions DEFAULT =
      new ClassifyOptions(ClassifyRequest.getDefaultInstance(), null);

  private final ClassifyRequest asked;
  private final Duration timeout;

  private ClassifyOptions(ClassifyRequest asked, Duration timeout) {
    this.asked = asked;
    this.timeout = timeout;
  }

  /** Names the model to ask. */
  public ClassifyOptions model(String name) {
    return new ClassifyOptions(asked.toBuilder().setModel(name).build(), timeout);
  }

  /** Says what to do with pairs of too many tokens, in place of the model's own rule. */
  public ClassifyOptions truncation(Truncation rule) {
    return new ClassifyOptions(asked.toBuilder().setTruncation(rule).build(), timeout);
  }

  /** Answers the good pairs even where others are bad: the bad ones carry an error of their own. */
  public ClassifyOptions partial() {
    return new ClassifyOptions(asked.toBuilder().setAllowPartial(true).build(), timeout);
  }

  /** Says how long the call may take, and a stream may wait for an answer. */
  public ClassifyOptions timeout(Duration timeout) {
    return new ClassifyOptions(asked, Timeouts.positive(timeout));
  }

  ClassifyRequest request(List<ClassifyPair> pairs) {
    ClassifyRequest.Builder request = asked.toBuilder();
    for (ClassifyPair pair : pairs) {
      var one = request.addPairsBuilder().setPremise(pair.premise());
      if (pair.hypothesis() != null) {
        one.setHypothesis(pair.hypothesis());
      }
    }
    return request.build();
  }

  Duration timeout() {
    return timeout;
  }
}
