package io.semserve.client;

import io.grpc.MethodDescriptor;
import io.semserve.v1.EmbeddingServiceGrpc;
import io.semserve.v1.StreamEmbedRequest;
import io.semserve.v1.StreamEmbedResponse;
import java.util.List;

/** A stream of texts to embed. */
record EmbedProtocol(SemserveClient client, EmbedOptions options)
    implements Protocol<String, StreamEmbedRequest, StreamEmbedResponse, Embeddings> {
  @Override
  public MethodDescriptor<StreamEmbedRequest, StreamEmbedResponse> method() {
    return EmbeddingServiceGrpc.getStreamEmbedMethod();
  }

  @Override
  public StreamEmbedRequest write(String name, List<String> texts) {
    var request = options.request(texts);
    WellFormed.check(request);
    return StreamEmbedRequest.newBuilder().setId(name).setRequest(request).build();
  }

  @Override
  public Answer<Embeddings> read(StreamEmbedResponse answer) {
    return answer.hasResponse()
        ? new Answer<>(answer.getId(), Embeddings.read(answer.getResponse()), null)
        : new Answer<>(answer.getId(), null, SemserveException.of(answer.getError()));
  }

  @Override
  public Embeddings alone(List<String> texts) {
    return client.embed(texts, options);
  }
}
