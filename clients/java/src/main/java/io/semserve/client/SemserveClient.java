package io.semserve.client;

import com.google.protobuf.Message;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.Channel;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.handler.ssl.SslContext;
import io.grpc.stub.MetadataUtils;
import io.semserve.v1.ClassificationServiceGrpc;
import io.semserve.v1.CompareRequest;
import io.semserve.v1.CompareResponse;
import io.semserve.v1.EmbeddingServiceGrpc;
import io.semserve.v1.GetModelRequest;
import io.semserve.v1.GetServerInfoRequest;
import io.semserve.v1.GetServerInfoResponse;
import io.semserve.v1.ListModelsRequest;
import io.semserve.v1.LoadModelRequest;
import io.semserve.v1.MatrixRequest;
import io.semserve.v1.MatrixResponse;
import io.semserve.v1.ModelInfo;
import io.semserve.v1.ModelServiceGrpc;
import io.semserve.v1.RankRequest;
import io.semserve.v1.RankResponse;
import io.semserve.v1.RerankRequest;
import io.semserve.v1.RerankResponse;
import io.semserve.v1.ScoreRequest;
import io.semserve.v1.ScoreServiceGrpc;
import io.semserve.v1.SearchRequest;
import io.semserve.v1.SearchResponse;
import io.semserve.v1.SimilarityServiceGrpc;
import io.semserve.v1.TokenizeRequest;
import io.semserve.v1.TokenizeResult;
import io.semserve.v1.UnloadModelRequest;
import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;

/**
 * A semserve server.
 *
 * <pre>{@code
 * try (SemserveClient client = SemserveClient.of("127.0.0.1:50051")) {
 *   Embeddings answer = client.embed(List.of("The cat sits on the mat."));
 * }
 * }</pre>
 *
 * <p>Many threads may share a client; one is enough for a program. Nothing is connected before the
 * first call. Every method throws a {@link SemserveException} where the call fails. Calls heed the
 * deadline and the cancellation of the current {@link io.grpc.Context}, and an interrupt of the
 * calling thread cancels its call.
 */
public final class SemserveClient implements AutoCloseable {
  /** How long a call may take where neither it nor its client says otherwise. */
  public static final Duration DEFAULT_TIMEOUT = Duration.ofSeconds(30);

  /** The answer to a large matrix is longer than the 4 MiB that gRPC allows by itself. */
  private static final int MAX_ANSWER_BYTES = 64 << 20;

  private final ManagedChannel channel;
  private final Channel calls;
  private final Unary unary;
  private final int inFlight;

  private SemserveClient(Builder builder) {
    channel = builder.channel();
    calls = builder.key.isEmpty() ? channel : ClientInterceptors.intercept(channel, bearer(builder.key));
    unary = new Unary(calls, builder.timeout);
    inFlight = builder.inFlight;
  }

  /** Makes a client with every default, without TLS or a key. */
  public static SemserveClient of(String... addresses) {
    return builder(addresses).build();
  }

  /**
   * Begins a client.
   *
   * @param addresses HOST:PORT, of one server or of several over which calls are balanced; or one
   *     other target that gRPC resolves
   * @throws IllegalArgumentException if an address cannot be used
   */
  public static Builder builder(String... addresses) {
    return new Builder(Address.target(addresses), Address.isLocal(addresses));
  }

  /** Ends every call in flight, and the connections. */
  @Override
  public void close() {
    channel.shutdownNow();
  }

  /** The connection itself, with the client's key, for the generated stubs of io.semserve.v1. */
  public Channel channel() {
    return calls;
  }

  /** Turns texts into vectors, by the server's defaults. */
  public Embeddings embed(List<String> texts) {
    return embed(texts, EmbedOptions.DEFAULT);
  }

  /** Turns texts into vectors, in the order of the texts. Many texts in one call cost least. */
  public Embeddings embed(List<String> texts, EmbedOptions options) {
    return Embeddings.read(
        unary.call(EmbeddingServiceGrpc.getEmbedMethod(), options.request(texts), options.timeout()));
  }

  /** Embeds a stream of requests, by the server's defaults. */
  public AnswerStream<Embeddings> streamEmbed(Iterator<Request<String>> requests) {
    return streamEmbed(requests, EmbedOptions.DEFAULT);
  }

  /** Embeds a stream of requests, by the rules of {@link AnswerStream}. */
  public AnswerStream<Embeddings> streamEmbed(Iterator<Request<String>> requests, EmbedOptions options) {
    return new Exchange<>(new EmbedProtocol(this, options), calls, unary.timeout(options.timeout()), inFlight)
        .start(requests);
  }

  /** Turns texts into sparse vectors, by the server's defaults. */
  public SparseEmbeddings embedSparse(List<String> texts) {
    return embedSparse(texts, SparseOptions.DEFAULT);
  }

  /** Turns texts into sparse vectors, in the order of the texts. */
  public SparseEmbeddings embedSparse(List<String> texts, SparseOptions options) {
    return SparseEmbeddings.read(
        unary.call(
            EmbeddingServiceGrpc.getEmbedSparseMethod(),
            options.request(texts),
            options.timeout()));
  }

  /** Labels pairs, by the server's defaults. */
  public Classifications classify(List<ClassifyPair> pairs) {
    return classify(pairs, ClassifyOptions.DEFAULT);
  }

  /** Labels pairs, in the order of the pairs. */
  public Classifications classify(List<ClassifyPair> pairs, ClassifyOptions options) {
    return Classifications.read(
        unary.call(
            ClassificationServiceGrpc.getClassifyMethod(), options.request(pairs), options.timeout()));
  }

  /** Labels a stream of requests, by the server's defaults. */
  public AnswerStream<Classifications> streamClassify(Iterator<Request<ClassifyPair>> requests) {
    return streamClassify(requests, ClassifyOptions.DEFAULT);
  }

  /** Labels a stream of requests, by the rules of {@link AnswerStream}. */
  public AnswerStream<Classifications> streamClassify(
      Iterator<Request<ClassifyPair>> requests, ClassifyOptions options) {
    return new Exchange<>(
            new ClassifyProtocol(this, options), calls, unary.timeout(options.timeout()), inFlight)
        .start(requests);
  }

  /** Gives each pair one number, by the server's defaults. */
  public Scores score(List<ComparePair> pairs) {
    return score(pairs, ScoreOptions.DEFAULT);
  }

  /** Gives each pair one number, by a cross-encoder or another model of pairs. */
  public Scores score(List<ComparePair> pairs, ScoreOptions options) {
    ScoreRequest.Builder request = options.score();
    for (ComparePair pair : pairs) {
      request.addPairsBuilder().setLeft(pair.left()).setRight(pair.right());
    }
    return Scores.read(
        unary.call(ScoreServiceGrpc.getScoreMethod(), request.build(), options.timeout()));
  }

  /** Gives each text one number, by a model of single texts. */
  public Scores scoreTexts(List<String> texts, ScoreOptions options) {
    return Scores.read(
        unary.call(
            ScoreServiceGrpc.getScoreMethod(),
            options.score().addAllTexts(texts).build(),
            options.timeout()));
  }

  /** Scores each document together with the query, and sorts them, by the server's defaults. */
  public Scored<List<Hit>> rerank(String query, List<String> documents) {
    return rerank(query, documents, ScoreOptions.DEFAULT);
  }

  /** Scores each document together with the query, and sorts them by their score, best first. */
  public Scored<List<Hit>> rerank(String query, List<String> documents, ScoreOptions options) {
    RerankRequest request = options.rerank().setQuery(query).addAllDocuments(documents).build();
    RerankResponse answer =
        unary.call(ScoreServiceGrpc.getRerankMethod(), request, options.timeout());
    return new Scored<>(
        answer.getModel(),
        Hit.read(answer.getHitsList()),
        Usage.read(answer.getUsage()),
        answer.getTruncatedTokens());
  }

  /** Compares pairs of texts by the model's metric. */
  public Scored<float[]> compare(List<ComparePair> pairs) {
    return compare(pairs, SimilarityOptions.DEFAULT);
  }

  /** Compares pairs of texts by their vectors, in their order. */
  public Scored<float[]> compare(List<ComparePair> pairs, SimilarityOptions options) {
    CompareRequest.Builder request = options.compare();
    for (ComparePair pair : pairs) {
      request.addPairsBuilder().setLeft(pair.left()).setRight(pair.right());
    }
    CompareResponse answer =
        unary.call(SimilarityServiceGrpc.getCompareMethod(), request.build(), options.timeout());
    return new Scored<>(
        answer.getModel(),
        Vectors.copy(answer.getScoresList()),
        Usage.read(answer.getUsage()),
        answer.getTruncatedTokens());
  }

  /** Sorts all documents by the model's metric. */
  public Scored<List<Hit>> rank(String query, List<String> documents) {
    return rank(query, documents, SimilarityOptions.DEFAULT);
  }

  /** Sorts documents by their similarity to the query, best first. */
  public Scored<List<Hit>> rank(String query, List<String> documents, SimilarityOptions options) {
    RankRequest request = options.rank().setQuery(query).addAllDocuments(documents).build();
    RankResponse answer =
        unary.call(SimilarityServiceGrpc.getRankMethod(), request, options.timeout());
    return new Scored<>(
        answer.getModel(),
        Hit.read(answer.getHitsList()),
        Usage.read(answer.getUsage()),
        answer.getTruncatedTokens());
  }

  /** Finds for each query the ten most similar texts by the model's metric. */
  public Scored<List<List<Hit>>> search(List<String> queries, List<String> corpus) {
    return search(queries, corpus, SimilarityOptions.DEFAULT);
  }

  /** Finds for each query the most similar texts of the corpus, best first. */
  public Scored<List<List<Hit>>> search(
      List<String> queries, List<String> corpus, SimilarityOptions options) {
    SearchRequest request = options.search().addAllQueries(queries).addAllCorpus(corpus).build();
    SearchResponse answer =
        unary.call(SimilarityServiceGrpc.getSearchMethod(), request, options.timeout());
    return new Scored<>(
        answer.getModel(),
        answer.getResultsList().stream().map(result -> Hit.read(result.getHitsList())).toList(),
        Usage.read(answer.getUsage()),
        answer.getTruncatedTokens());
  }

  /** Scores every text against every other by the model's metric. */
  public Scored<float[][]> matrix(List<String> texts) {
    return matrix(texts, List.of(), SimilarityOptions.DEFAULT);
  }

  /** Scores every left text against every right one, or against the left ones where there are none. */
  public Scored<float[][]> matrix(List<String> left, List<String> right, SimilarityOptions options) {
    MatrixRequest request = options.matrix().addAllLeft(left).addAllRight(right).build();
    MatrixResponse answer =
        unary.call(SimilarityServiceGrpc.getMatrixMethod(), request, options.timeout());
    return new Scored<>(
        answer.getModel(),
        answer.getRowsList().stream()
            .map(row -> Vectors.copy(row.getScoresList()))
            .toArray(float[][]::new),
        Usage.read(answer.getUsage()),
        answer.getTruncatedTokens());
  }

  /** Tells the server's version, its limits, and which models answer requests that name none. */
  public GetServerInfoResponse serverInfo() {
    return ask(
        ModelServiceGrpc.getGetServerInfoMethod(), GetServerInfoRequest.getDefaultInstance());
  }

  /** Lists the models, sorted by name: those that are ready, and others with their state. */
  public List<ModelInfo> models() {
    return ask(ModelServiceGrpc.getListModelsMethod(), ListModelsRequest.getDefaultInstance())
        .getModelsList();
  }

  /** Describes one model; the name may be empty where only one is loaded. */
  public ModelInfo model(String name) {
    return ask(
            ModelServiceGrpc.getGetModelMethod(), GetModelRequest.newBuilder().setModel(name).build())
        .getModel();
  }

  /** Has the server serve a bundle as it is on its disk now, where it allows that. */
  public ModelInfo loadModel(String name) {
    return ask(
            ModelServiceGrpc.getLoadModelMethod(), LoadModelRequest.newBuilder().setModel(name).build())
        .getModel();
  }

  /** Has the server serve a model no longer, where it allows that. */
  public void unloadModel(String name) {
    ask(
        ModelServiceGrpc.getUnloadModelMethod(),
        UnloadModelRequest.newBuilder().setModel(name).build());
  }

  /** Shows how the default embedding model's tokenizer reads texts. */
  public List<TokenizeResult> tokenize(List<String> texts) {
    return tokenize(texts, "");
  }

  /** Shows how a model's tokenizer reads texts, without running the model. */
  public List<TokenizeResult> tokenize(List<String> texts, String model) {
    TokenizeRequest request =
        TokenizeRequest.newBuilder().setModel(model).addAllTexts(texts).build();
    return ask(ModelServiceGrpc.getTokenizeMethod(), request).getResultsList();
  }

  /**
   * Tells whether a model is ready, or with an empty name the whole server. A model that the server
   * does not know is a {@link SemserveException} of code NOT_FOUND.
   */
  public boolean healthy(String model) {
    HealthCheckRequest request = HealthCheckRequest.newBuilder().setService(model).build();
    return ask(HealthGrpc.getCheckMethod(), request).getStatus() == ServingStatus.SERVING;
  }

  private <Q extends Message, A> A ask(MethodDescriptor<Q, A> method, Q request) {
    return unary.call(method, request, null);
  }

  private static ClientInterceptor bearer(String key) {
    Metadata headers = new Metadata();
    headers.put(
        Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + key);
    return MetadataUtils.newAttachHeadersInterceptor(headers);
  }

  /** What a client may be told before it is made. */
  public static final class Builder {
    private final NettyChannelBuilder builder;
    private String key = "";
    private Duration timeout = DEFAULT_TIMEOUT;
    private int inFlight = AnswerStream.DEFAULT_IN_FLIGHT;
    private boolean healthChecks = true;
    private Consumer<NettyChannelBuilder> further = ignored -> {};

    private Builder(String target, boolean local) {
      builder =
          NettyChannelBuilder.forTarget(target)
              .usePlaintext()
              .maxInboundMessageSize(MAX_ANSWER_BYTES)
              .enableRetry();
      if (local) {
        builder.proxyDetector(address -> null);
      }
    }

    /**
     * Sends a key with every call, without the white space around it; an empty one is none. Without
     * TLS the network can read it.
     *
     * @throws IllegalArgumentException if the key has a space or what is not printable ASCII
     */
    public Builder key(String key) {
      String trimmed = key.strip();
      if (!trimmed.chars().allMatch(character -> character > ' ' && character <= '~')) {
        throw new IllegalArgumentException(
            "the key has a character that is not printable ASCII, or a space");
      }
      this.key = trimmed;
      return this;
    }

    /** Encrypts, and trusts the authorities of the Java runtime. */
    public Builder tls() {
      builder.useTransportSecurity();
      return this;
    }

    /** Encrypts with a context that GrpcSslContexts.forClient() of grpc-netty-shaded began. */
    public Builder tls(SslContext context) {
      builder.useTransportSecurity().sslContext(Objects.requireNonNull(context));
      return this;
    }

    /** How long a call may take, and a stream may wait for an answer, in place of 30 seconds. */
    public Builder timeout(Duration timeout) {
      this.timeout = Timeouts.positive(timeout);
      return this;
    }

    /** The most requests of one stream that have no answer yet, in place of 8. */
    public Builder inFlight(int requests) {
      if (requests < 1) {
        throw new IllegalArgumentException(requests + " requests in flight, not 1 or more");
      }
      inFlight = requests;
      return this;
    }

    /**
     * Whether calls go only to servers whose health service reports SERVING; true by default. Set
     * false for a server that answers health checks only with a key (--no-auth-exempt-health).
     */
    public Builder healthChecks(boolean enabled) {
      healthChecks = enabled;
      return this;
    }

    /** Changes the channel itself, after and so above the client's own choices. */
    public Builder configure(Consumer<NettyChannelBuilder> change) {
      further = further.andThen(change);
      return this;
    }

    /** Makes the client. */
    public SemserveClient build() {
      return new SemserveClient(this);
    }

    private ManagedChannel channel() {
      builder.defaultServiceConfig(Retries.serviceConfig(healthChecks)).disableServiceConfigLookUp();
      further.accept(builder);
      return builder.build();
    }
  }
}
