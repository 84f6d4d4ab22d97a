package io.semserve.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Context;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.stub.StreamObserver;
import io.semserve.v1.EmbedRequest;
import io.semserve.v1.EmbedResponse;
import io.semserve.v1.EmbedSparseRequest;
import io.semserve.v1.EmbedSparseResponse;
import io.semserve.v1.EmbeddingServiceGrpc.EmbeddingServiceImplBase;
import io.semserve.v1.GetServerInfoRequest;
import io.semserve.v1.GetServerInfoResponse;
import io.semserve.v1.ModelServiceGrpc.ModelServiceImplBase;
import io.semserve.v1.RankRequest;
import io.semserve.v1.RankResponse;
import io.semserve.v1.RerankRequest;
import io.semserve.v1.RerankResponse;
import io.semserve.v1.ScoreRequest;
import io.semserve.v1.ScoreResponse;
import io.semserve.v1.ScoreServiceGrpc.ScoreServiceImplBase;
import io.semserve.v1.Side;
import io.semserve.v1.SimilarityServiceGrpc.SimilarityServiceImplBase;
import io.semserve.v1.StreamEmbedRequest;
import io.semserve.v1.StreamEmbedResponse;
import io.semserve.v1.VectorEncoding;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class SemserveClientTest {
  /** Answers Embed as a function of the number of the call says, or throws its status. */
  private static final class Embedding extends EmbeddingServiceImplBase {
    final AtomicInteger calls = new AtomicInteger();
    private final Function<Integer, StatusRuntimeException> refusal;

    Embedding(Function<Integer, StatusRuntimeException> refusal) {
      this.refusal = refusal;
    }

    @Override
    public void embed(EmbedRequest request, StreamObserver<EmbedResponse> answers) {
      StatusRuntimeException refused = refusal.apply(calls.incrementAndGet());
      if (refused != null) {
        answers.onError(refused);
      } else {
        answers.onNext(Scripted.embedded(request));
        answers.onCompleted();
      }
    }
  }

  @Test
  void aCallWaitsAsLongAsTheServerAsksAndIsThenAnswered() {
    Embedding service = new Embedding(call -> call <= 2 ? Scripted.full("1") : null);
    try (Scripted server = new Scripted(service); SemserveClient client = server.client()) {
      assertArrayEquals(new float[] {3, 1}, client.embed(List.of("abc")).vectors()[0]);
    }
    assertEquals(3, service.calls.get());
  }

  @Test
  void aCallWhoseWaitWouldPassItsDeadlineFailsAtOnceWithWhatTheServerSaid() {
    Embedding service = new Embedding(call -> Scripted.full("60000"));
    try (Scripted server = new Scripted(service); SemserveClient client = server.client()) {
      EmbedOptions options = EmbedOptions.DEFAULT.timeout(Duration.ofSeconds(20));
      var failed =
          assertThrows(SemserveException.class, () -> client.embed(List.of("a"), options));
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, failed.code());
      assertEquals(Duration.ofMinutes(1), failed.retryAfter().orElseThrow());
    }
    assertEquals(1, service.calls.get());
  }

  @Test
  void aServerThatAsksNotToBeTriedAgainIsNot() {
    Embedding service = new Embedding(call -> Scripted.full("-1"));
    try (Scripted server = new Scripted(service); SemserveClient client = server.client()) {
      assertThrows(SemserveException.class, () -> client.embed(List.of("a")));
    }
    assertEquals(1, service.calls.get());
  }

  @Test
  void aMessageOverALimitIsNoOverload() {
    Embedding service =
        new Embedding(
            call ->
                Status.RESOURCE_EXHAUSTED
                    .withDescription("Received message larger than max (9 vs. 4)")
                    .asRuntimeException());
    try (Scripted server = new Scripted(service); SemserveClient client = server.client()) {
      var failed = assertThrows(SemserveException.class, () -> client.embed(List.of("a")));
      assertEquals(Status.Code.INVALID_ARGUMENT, failed.code());
    }
    assertEquals(1, service.calls.get());
  }

  @Test
  void aServerThatIsAwayIsTriedAgain() {
    Embedding service =
        new Embedding(call -> call == 1 ? Status.UNAVAILABLE.asRuntimeException() : null);
    try (Scripted server = new Scripted(service); SemserveClient client = server.client()) {
      assertEquals(1, client.embed(List.of("a")).results().size());
    }
    assertEquals(2, service.calls.get());
  }

  @Test
  void callsAreSpreadOverAllServersThatSayThatTheyServe() {
    List<Embedding> services =
        List.of(new Embedding(x -> null), new Embedding(x -> null), new Embedding(x -> null));
    try (Scripted first = new Scripted(services.get(0));
        Scripted second = new Scripted(services.get(1));
        Scripted third = new Scripted(services.get(2))) {
      second.health.setStatus("", ServingStatus.NOT_SERVING);
      try (SemserveClient client =
          SemserveClient.of(first.address(), second.address(), third.address())) {
        // Both connections are made within some of these calls.
        for (int call = 0; services.get(0).calls.get() * services.get(2).calls.get() == 0; call++) {
          assertTrue(call < 10_000, "one server has answered every call");
          client.embed(List.of("a"));
        }
      }
    }
    assertEquals(0, services.get(1).calls.get());
  }

  @Test
  void aCallThatWaitsForRoomEndsWithItsContext() {
    Context.CancellableContext context = Context.current().withCancellation();
    Embedding service =
        new Embedding(
            call -> {
              Context.current().addListener(ended -> context.cancel(null), Runnable::run);
              return Scripted.full("20000");
            });
    try (Scripted server = new Scripted(service); SemserveClient client = server.client()) {
      context.run(
          () -> {
            var failed = assertThrows(SemserveException.class, () -> client.embed(List.of("a")));
            assertEquals(Status.Code.CANCELLED, failed.code());
          });
    }
  }

  @Test
  void aCallCarriesItsOptionsAndTheKey() {
    AtomicReference<EmbedRequest> seen = new AtomicReference<>();
    AtomicReference<String> key = new AtomicReference<>();
    EmbeddingServiceImplBase service =
        new EmbeddingServiceImplBase() {
          @Override
          public void embed(EmbedRequest request, StreamObserver<EmbedResponse> answers) {
            seen.set(request);
            key.set(
                Scripted.HEADERS
                    .get()
                    .get(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER)));
            answers.onNext(Scripted.embedded(request));
            answers.onCompleted();
          }
        };
    try (Scripted server = new Scripted(service);
        SemserveClient client = SemserveClient.builder(server.address()).key(" a.b\n").build()) {
      client.embed(
          List.of("a"),
          EmbedOptions.DEFAULT
              .model("m")
              .normalize(false)
              .dimensions(8)
              .encoding(VectorEncoding.VECTOR_ENCODING_INT8)
              .partial()
              .prompt("")
              .side(Side.SIDE_RIGHT));
    }
    assertEquals(
        EmbedRequest.newBuilder()
            .setModel("m")
            .addTexts("a")
            .setNormalize(false)
            .setDimensions(8)
            .setEncoding(VectorEncoding.VECTOR_ENCODING_INT8)
            .setAllowPartial(true)
            .setPromptName("")
            .setSide(Side.SIDE_RIGHT)
            .build(),
        seen.get());
    assertEquals("Bearer a.b", key.get());
  }

  @Test
  void textThatIsNotValidUnicodeIsRefusedWithItsFieldsAndNothingIsSent() {
    Embedding service = new Embedding(call -> null);
    try (Scripted server = new Scripted(service); SemserveClient client = server.client()) {
      List<String> texts = List.of("fine \ud83e\udd50", "half a \ud83d", "\udd50");
      var failed = assertThrows(SemserveException.class, () -> client.embed(texts));
      assertEquals(Status.Code.INVALID_ARGUMENT, failed.code());
      assertEquals(
          List.of("texts[1]", "texts[2]"),
          failed.violations().stream().map(SemserveException.Violation::field).toList());
      try (var answers = client.streamEmbed(List.of(new Request<>("a", texts)).iterator())) {
        assertEquals(2, answers.next().error().violations().size());
      }
    }
    assertEquals(0, service.calls.get());
  }

  @Test
  void closeEndsCallsInFlight() throws Exception {
    CountDownLatch arrived = new CountDownLatch(1);
    EmbeddingServiceImplBase service =
        new EmbeddingServiceImplBase() {
          @Override
          public void embed(EmbedRequest request, StreamObserver<EmbedResponse> answers) {
            arrived.countDown();
          }
        };
    try (Scripted server = new Scripted(service)) {
      SemserveClient client = server.client();
      var call =
          CompletableFuture.supplyAsync(
              () -> assertThrows(SemserveException.class, () -> client.embed(List.of("a"))));
      arrived.await();
      client.close();
      // gRPC calls a channel that is shut down UNAVAILABLE.
      assertTrue(
          Set.of(Status.Code.CANCELLED, Status.Code.UNAVAILABLE).contains(call.get().code()));
    }
  }

  /** Answers streams; the first two take a second request and go away. */
  private static final class Vanishing extends EmbeddingServiceImplBase {
    final AtomicInteger streams = new AtomicInteger();

    @Override
    public StreamObserver<StreamEmbedRequest> streamEmbed(
        StreamObserver<StreamEmbedResponse> answers) {
      int number = streams.incrementAndGet();
      return new StreamObserver<>() {
        private int taken;

        @Override
        public void onNext(StreamEmbedRequest request) {
          taken++;
          if (number <= 2 && taken == 2) {
            answers.onError(Status.UNAVAILABLE.asRuntimeException());
          } else if (number > 2 || taken == 1) {
            answers.onNext(Scripted.answered(request));
          }
        }

        @Override
        public void onError(Throwable failed) {}

        @Override
        public void onCompleted() {
          answers.onCompleted();
        }
      };
    }
  }

  @Test
  void aStreamGoesOnWhereTheServerGoesAwayAndEachRequestIsAnsweredOnce() {
    Vanishing service = new Vanishing();
    try (Scripted server = new Scripted(service);
        SemserveClient client = server.client();
        var answers = client.streamEmbed(requests(20))) {
      Set<String> ids = new TreeSet<>();
      int count = 0;
      while (answers.hasNext()) {
        var answer = answers.next();
        ids.add(answer.id());
        count++;
        assertArrayEquals(
            new float[] {Integer.parseInt(answer.id()) + 1, 1}, answer.result().vectors()[0]);
      }
      assertEquals(List.of(20, 20), List.of(count, ids.size()));
    }
    assertEquals(3, service.streams.get());
  }

  @Test
  void aStreamThatBreaksTooOftenOrForGoodEndsWithItsError() {
    for (Status status : List.of(Status.UNAVAILABLE, Status.PERMISSION_DENIED)) {
      AtomicInteger streams = new AtomicInteger();
      EmbeddingServiceImplBase service =
          new EmbeddingServiceImplBase() {
            @Override
            public StreamObserver<StreamEmbedRequest> streamEmbed(
                StreamObserver<StreamEmbedResponse> answers) {
              streams.incrementAndGet();
              answers.onError(status.asRuntimeException());
              return new Vanishing().streamEmbed(answers);
            }
          };
      try (Scripted server = new Scripted(service);
          SemserveClient client = server.client();
          var answers = client.streamEmbed(requests(3))) {
        var failed = assertThrows(SemserveException.class, answers::hasNext);
        assertEquals(status.getCode(), failed.code());
      }
      assertEquals(status == Status.UNAVAILABLE ? 4 : 1, streams.get());
    }
  }

  @Test
  void anErrorOfTheCallersOwnRequestsEndsTheStreamAndIsThrown() {
    RuntimeException own = new IllegalStateException("no more lines");
    Iterator<Request<String>> source =
        IntStream.range(0, 5)
            .mapToObj(
                place -> {
                  if (place == 2) {
                    throw own;
                  }
                  return new Request<>("a", List.of("a"));
                })
            .iterator();
    try (Scripted server = new Scripted(new Vanishing());
        SemserveClient client = server.client();
        var answers = client.streamEmbed(source)) {
      assertSame(
          own,
          assertThrows(
              IllegalStateException.class,
              () -> {
                while (answers.hasNext()) {
                  answers.next();
                }
              }));
    }
  }

  @Test
  void scoresTellWhichPairsHaveNone() {
    ScoreServiceImplBase service =
        new ScoreServiceImplBase() {
          @Override
          public void score(ScoreRequest request, StreamObserver<ScoreResponse> answers) {
            assertEquals("b", request.getPairs(0).getRight());
            ScoreResponse.Builder answer =
                ScoreResponse.newBuilder().addScores(0.5f).addScores(Float.NaN).setTruncatedTokens(4);
            answer.addErrorsBuilder().setIndex(1).getErrorBuilder().setCode(3);
            answers.onNext(answer.build());
            answers.onCompleted();
          }

          @Override
          public void rerank(RerankRequest request, StreamObserver<RerankResponse> answers) {
            RerankResponse.Builder answer = RerankResponse.newBuilder();
            answer.addHitsBuilder().setIndex(request.getTopK()).setScore(0.5f);
            answers.onNext(answer.setModel("m").setTruncatedTokens(5).build());
            answers.onCompleted();
          }
        };
    try (Scripted server = new Scripted(service); SemserveClient client = server.client()) {
      Scores found =
          client.score(
              List.of(new ComparePair("a", "b"), new ComparePair("c", "")),
              ScoreOptions.DEFAULT.partial());
      assertArrayEquals(new float[] {0.5f, Float.NaN}, found.scores());
      assertEquals(Set.of(1), found.errors().keySet());
      assertEquals(Status.Code.INVALID_ARGUMENT, found.errors().get(1).code());
      assertEquals(4, found.truncatedTokens());
      assertEquals(
          new Scored<>("m", List.of(new Hit(2, 0.5f)), new Usage(0, 0), 5),
          client.rerank("q", List.of("a", "b", "c"), ScoreOptions.DEFAULT.topK(2)));
      assertThrows(
          IllegalArgumentException.class,
          () -> client.score(List.of(), ScoreOptions.DEFAULT.topK(2)));
      assertThrows(
          IllegalArgumentException.class,
          () -> client.rerank("q", List.of(), ScoreOptions.DEFAULT.partial()));
    }
  }

  @Test
  void documentsAreRankedWithPrompts() {
    List<RankRequest> seen = new ArrayList<>();
    SimilarityServiceImplBase service =
        new SimilarityServiceImplBase() {
          @Override
          public void rank(RankRequest request, StreamObserver<RankResponse> answers) {
            seen.add(request);
            answers.onNext(RankResponse.getDefaultInstance());
            answers.onCompleted();
          }
        };
    try (Scripted server = new Scripted(service); SemserveClient client = server.client()) {
      client.rank(
          "q", List.of("a"), SimilarityOptions.DEFAULT.prompt("query").otherPrompt("passage"));
    }
    assertEquals("query", seen.get(0).getPromptName());
    assertEquals("passage", seen.get(0).getDocumentPromptName());
  }

  @Test
  void sparseVectorsArriveAsArrays() {
    EmbeddingServiceImplBase service =
        new EmbeddingServiceImplBase() {
          @Override
          public void embedSparse(
              EmbedSparseRequest request, StreamObserver<EmbedSparseResponse> answers) {
            EmbedSparseResponse.Builder answer = EmbedSparseResponse.newBuilder();
            answer.addResultsBuilder().addIndices(3).addIndices(7).addValues(0.5f).addValues(1)
                .addTokens("cat").addTokens("mat");
            answer.addResultsBuilder().getErrorBuilder().setCode(3);
            answers.onNext(answer.build());
            answers.onCompleted();
          }
        };
    try (Scripted server = new Scripted(service); SemserveClient client = server.client()) {
      var results =
          client
              .embedSparse(List.of("a", ""), SparseOptions.DEFAULT.topK(2).tokens().partial())
              .results();
      assertArrayEquals(new int[] {3, 7}, results.get(0).indices());
      assertArrayEquals(new float[] {0.5f, 1}, results.get(0).values());
      assertEquals(List.of("cat", "mat"), results.get(0).tokens());
      assertEquals(Status.Code.INVALID_ARGUMENT, results.get(1).error().code());
    }
  }

  @Test
  void theServerDescribesItself() {
    ModelServiceImplBase service =
        new ModelServiceImplBase() {
          @Override
          public void getServerInfo(
              GetServerInfoRequest request, StreamObserver<GetServerInfoResponse> answers) {
            answers.onNext(GetServerInfoResponse.newBuilder().setVersion("0.1.0").build());
            answers.onCompleted();
          }
        };
    try (Scripted server = new Scripted(service); SemserveClient client = server.client()) {
      assertEquals("0.1.0", client.serverInfo().getVersion());
    }
  }

  @Test
  void optionsThatCannotBeHonouredAreRefused() {
    var builder = SemserveClient.builder("localhost:1");
    assertThrows(IllegalArgumentException.class, () -> builder.inFlight(0));
    assertThrows(IllegalArgumentException.class, () -> builder.timeout(Duration.ZERO));
    assertThrows(IllegalArgumentException.class, () -> builder.key("half a key"));
  }

  private static Iterator<Request<String>> requests(int count) {
    return IntStream.range(0, count)
        .mapToObj(place -> new Request<>(String.valueOf(place), List.of("x".repeat(place + 1))))
        .iterator();
  }
}
