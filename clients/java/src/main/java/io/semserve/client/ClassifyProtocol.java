package io.semserve.client;

import io.grpc.MethodDescriptor;
import io.semserve.v1.ClassificationServiceGrpc;
import io.semserve.v1.StreamClassifyRequest;
import io.semserve.v1.StreamClassifyResponse;
import java.util.List;

/** A stream of pairs to classify. */
record ClassifyProtocol(SemserveClient client, ClassifyOptions options)
    implements Protocol<
        ClassifyPair, StreamClassifyRequest, StreamClassifyResponse, Classifications> {
  @Override
  public MethodDescriptor<StreamClassifyRequest, StreamClassifyResponse> method() {
    return ClassificationServiceGrpc.getStreamClassifyMethod();
  }

  @Override
  public StreamClassifyRequest write(String name, List<ClassifyPair> pairs) {
    var request = options.request(pairs);
    WellFormed.check(request);
    return StreamClassifyRequest.newBuilder().setId(name).setRequest(request).build();
  }

  @Override
  public Answer<Classifications> read(StreamClassifyResponse answer) {
    return answer.hasResponse()
        ? new Answer<>(answer.getId(), Classifications.read(answer.getResponse()), null)
        : new Answer<>(answer.getId(), null, SemserveException.of(answer.getError()));
  }

  @Override
  public Classifications alone(List<ClassifyPair> pairs) {
    return client.classify(pairs, options);
  }
}
