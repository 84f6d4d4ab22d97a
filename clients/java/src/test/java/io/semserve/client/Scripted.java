package io.semserve.client;

import io.grpc.BindableService;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.services.HealthStatusManager;
import io.semserve.v1.EmbedRequest;
import io.semserve.v1.EmbedResponse;
import io.semserve.v1.StreamEmbedRequest;
import io.semserve.v1.StreamEmbedResponse;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;

/** A gRPC server in the test's own process, over the loopback, that does what a test says. */
final class Scripted implements AutoCloseable {
  static final Context.Key<Metadata> HEADERS = Context.key("headers");

  /** Tells clients that the server serves, unless a test says otherwise. */
  final HealthStatusManager health = new HealthStatusManager();

  private final Server server;

  Scripted(BindableService service) {
    ServerInterceptor keeping =
        new ServerInterceptor() {
          @Override
          public <Q, A> ServerCall.Listener<Q> interceptCall(
              ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
            return Contexts.interceptCall(
                Context.current().withValue(HEADERS, headers), call, headers, next);
          }
        };
    try {
      server =
          NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
              .addService(service)
              .addService(health.getHealthService())
              .intercept(keeping)
              .build()
              .start();
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    }
  }

  String address() {
    return "127.0.0.1:" + server.getPort();
  }

  SemserveClient client() {
    return SemserveClient.of(address());
  }

  @Override
  public void close() {
    server.shutdownNow();
  }

  /** An overload, with a hint when to come back. */
  static StatusRuntimeException full(String pushback) {
    Metadata trailers = new Metadata();
    trailers.put(
        Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER), pushback);
    return Status.RESOURCE_EXHAUSTED.withDescription("full").asRuntimeException(trailers);
  }

  /** Answers with vectors that tell their texts: the length, and 1. */
  static EmbedResponse embedded(EmbedRequest request) {
    EmbedResponse.Builder answer = EmbedResponse.newBuilder().setModel("scripted");
    for (String text : request.getTextsList()) {
      answer.addResultsBuilder().getEmbeddingBuilder().addValues(text.length()).addValues(1);
    }
    return answer.build();
  }

  static StreamEmbedResponse answered(StreamEmbedRequest request) {
    return StreamEmbedResponse.newBuilder()
        .setId(request.getId())
        .setResponse(embedded(request.getRequest()))
        .build();
  }
}
