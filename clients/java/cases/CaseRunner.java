import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor.JavaType;
import io.grpc.Context;
import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.semserve.client.Answer;
import io.semserve.client.AnswerStream;
import io.semserve.client.Classification;
import io.semserve.client.Classifications;
import io.semserve.client.ClassifyOptions;
import io.semserve.client.ClassifyPair;
import io.semserve.client.ComparePair;
import io.semserve.client.EmbedOptions;
import io.semserve.client.Embedding;
import io.semserve.client.Embeddings;
import io.semserve.client.Hit;
import io.semserve.client.Request;
import io.semserve.client.ScoreOptions;
import io.semserve.client.Scored;
import io.semserve.client.Scores;
import io.semserve.client.SimilarityOptions;
import io.semserve.client.SparseEmbedding;
import io.semserve.client.SparseEmbeddings;
import io.semserve.client.SparseOptions;
import io.semserve.client.SemserveClient;
import io.semserve.client.SemserveException;
import io.semserve.v1.GetServerInfoResponse;
import io.semserve.v1.Metric;
import io.semserve.v1.ModelInfo;
import io.semserve.v1.ServerLimits;
import io.semserve.v1.Side;
import io.semserve.v1.TokenizeResult;
import io.semserve.v1.Truncation;
import io.semserve.v1.VectorEncoding;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import java.util.stream.StreamSupport;

/** One case of the table: the call it makes, and what has to come of it. */
final class CaseRunner {
  private static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));

  private final JsonObject given;
  private final JsonObject expect;
  private final String call;
  private final String server;
  private final Map<String, String> servers;
  private final double tolerance;

  CaseRunner(JsonObject one, Map<String, String> servers, double tolerance) {
    given = one.getAsJsonObject("given");
    expect = one.getAsJsonObject("expect");
    call = one.get("call").getAsString();
    server = one.get("server").getAsString();
    this.servers = servers;
    this.tolerance = expect.has("tolerance") ? expect.get("tolerance").getAsDouble() : tolerance;
  }

  void run() throws Exception {
    if (call.equals("connect")) {
      refuses();
      return;
    }
    try (SemserveClient client = client()) {
      if (given.has("cancel")) {
        cancels(client);
      } else if (expect.has("error")) {
        try {
          ask(client);
        } catch (SemserveException failed) {
          sameError(expect.getAsJsonObject("error"), failed);
          return;
        }
        throw new AssertionError("answered; expected " + expect);
      } else {
        ask(client);
      }
    }
  }

  private SemserveClient client() throws Exception {
    String[] addresses =
        List.of(server.split("\\+")).stream().map(servers::get).toArray(String[]::new);
    SemserveClient.Builder builder = SemserveClient.builder(addresses);
    if (server.equals("secured")) {
      File authority = new File(System.getenv("SEMSERVE_TLS_CA"));
      builder.tls(GrpcSslContexts.forClient().trustManager(authority).build());
      builder.key(given.has("key") ? text("key") : System.getenv("SEMSERVE_KEY"));
    }
    if (given.has("in_flight")) {
      builder.inFlight(given.get("in_flight").getAsInt());
    }
    return builder.build();
  }

  private void refuses() {
    String address = given.has("address") ? text("address") : "127.0.0.1:50051";
    try {
      SemserveClient.builder(address).key(given.has("key") ? text("key") : "").build().close();
    } catch (IllegalArgumentException refused) {
      return;
    }
    throw new AssertionError("a client was made");
  }

  private void cancels(SemserveClient client) throws Exception {
    Context.CancellableContext context = Context.current().withCancellation();
    Future<?> asked =
        CompletableFuture.runAsync(
            context.wrap(
                () -> {
                  try {
                    ask(client);
                  } catch (Exception failed) {
                    throw failed instanceof RuntimeException known
                        ? known
                        : new IllegalStateException(failed);
                  }
                }));
    context.cancel(null);
    try {
      asked.get();
    } catch (java.util.concurrent.ExecutionException failed) {
      JsonObject cancelled = new JsonObject();
      cancelled.addProperty("code", "CANCELLED");
      sameError(cancelled, failed.getCause());
      return;
    }
    throw new AssertionError("answered");
  }

  private void ask(SemserveClient client) throws Exception {
    switch (call) {
      case "embed" -> sameEmbeddings(expect, client.embed(texts(given.get("texts")), embedOptions()));
      case "classify" ->
          sameClassifications(expect, client.classify(pairs(given.get("pairs")), classifyOptions()));
      case "compare" ->
          same(
              floats(expect.get("scores")),
              scores(client.compare(comparePairs(), similarityOptions())));
      case "rank" ->
          sameHits(
              expect.get("hits"),
              scores(client.rank(text("query"), texts(given.get("documents")), similarityOptions())));
      case "search" -> {
        List<List<Hit>> found =
            scores(
                client.search(
                    texts(given.get("queries")), texts(given.get("corpus")), similarityOptions()));
        JsonArray results = expect.getAsJsonArray("results");
        equal("results", results.size(), found.size());
        for (int place = 0; place < found.size(); place++) {
          sameHits(results.get(place), found.get(place));
        }
      }
      case "matrix" -> matrix(client);
      case "embed_sparse" ->
          sameSparse(client.embedSparse(texts(given.get("texts")), sparseOptions()));
      case "score" ->
          sameScores(
              given.has("pairs")
                  ? client.score(comparePairs(), scoreOptions())
                  : client.scoreTexts(texts(given.get("texts")), scoreOptions()));
      case "rerank" ->
          sameHits(
              expect.get("hits"),
              scores(client.rerank(text("query"), texts(given.get("documents")), scoreOptions())));
      case "server_info" -> sameServer(client.serverInfo());
      case "models" -> sameModels(client.models());
      case "model" -> sameModels(List.of(client.model(text("model"))));
      case "load_model" -> client.loadModel(text("model"));
      case "tokenize" -> tokenize(client);
      case "health" -> {
        boolean serving = client.healthy(text("model"));
        equal("serving", expect.get("serving").getAsBoolean(), serving);
      }
      case "stream_embed" -> {
        if (given.has("generate")) {
          generated(client);
        } else {
          List<Request<String>> requests =
              requests().map(one -> new Request<>(id(one), texts(one.get("texts")))).toList();
          try (var answers = client.streamEmbed(requests.iterator(), embedOptions())) {
            sameAnswers(answers, this::sameEmbeddings);
          }
        }
      }
      case "stream_classify" -> {
        List<Request<ClassifyPair>> requests =
            requests().map(one -> new Request<>(id(one), pairs(one.get("pairs")))).toList();
        try (var answers = client.streamClassify(requests.iterator(), classifyOptions())) {
          sameAnswers(answers, this::sameClassifications);
        }
      }
      case "failover_calls" -> failoverCalls(client);
      case "failover_streams" -> failoverStreams(client);
      default -> throw new AssertionError("no such call: " + call);
    }
  }

  /** Compares what an answer with scores tells about all its texts, and gives its scores. */
  private <T> T scores(Scored<T> found) {
    if (expect.has("model")) {
      equal("model", expect.get("model").getAsString(), found.model());
    }
    if (expect.has("usage_token_count")) {
      equal("usage", expect.get("usage_token_count").getAsLong(), found.usage().tokenCount());
    }
    if (expect.has("all_truncated_tokens")) {
      equal("truncated", expect.get("all_truncated_tokens").getAsInt(), found.truncatedTokens());
    }
    return found.scores();
  }

  private void matrix(SemserveClient client) {
    List<String> right = given.has("right") ? texts(given.get("right")) : List.of();
    float[][] rows = scores(client.matrix(texts(given.get("left")), right, similarityOptions()));
    if (expect.has("each_score")) {
      int count = expect.get("count").getAsInt();
      equal("rows", count, rows.length);
      double[] row = Collections.nCopies(count, expect.get("each_score").getAsDouble()).stream()
          .mapToDouble(Double::doubleValue).toArray();
      for (float[] found : rows) {
        same(row, found);
      }
    } else {
      sameRows(expect.getAsJsonArray("rows"), List.of(rows));
    }
  }

  private void tokenize(SemserveClient client) {
    String model = given.has("model") ? text("model") : "";
    List<TokenizeResult> found = client.tokenize(texts(given.get("texts")), model);
    JsonArray results = expect.getAsJsonArray("results");
    equal("results", results.size(), found.size());
    for (int place = 0; place < found.size(); place++) {
      JsonObject expected = results.get(place).getAsJsonObject();
      TokenizeResult tokens = found.get(place);
      equal("tokens", texts(expected.get("tokens")), List.copyOf(tokens.getTokensList()));
      equal("ids", integers(expected.get("ids")), tokens.getIdsList());
      equal("starts", integers(expected.get("starts")), tokens.getStartsList());
      equal("ends", integers(expected.get("ends")), tokens.getEndsList());
      equal("truncated", expected.get("truncated_tokens").getAsInt(), tokens.getTruncatedTokens());
    }
  }

  private <R> void sameAnswers(AnswerStream<R> answers, BiConsumer<JsonObject, R> same) {
    Set<String> seen = new TreeSet<>();
    JsonObject expected = expect.has("answers") ? expect.getAsJsonObject("answers") : new JsonObject();
    while (answers.hasNext()) {
      Answer<R> answer = answers.next();
      equal("first answer of " + answer.id(), true, seen.add(answer.id()));
      JsonObject one = expected.getAsJsonObject(answer.id());
      if (one.has("error")) {
        sameError(one.getAsJsonObject("error"), answer.error());
      } else if (answer.error() != null) {
        throw answer.error();
      } else {
        same.accept(one, answer.result());
      }
    }
    equal("answered", expected.keySet(), seen);
  }

  private void generated(SemserveClient client) {
    JsonObject generate = given.getAsJsonObject("generate");
    Source source = new Source(texts(generate.get("texts")), generate.get("count").getAsInt());
    int leaveAfter = given.has("leave_after") ? given.get("leave_after").getAsInt() : 0;
    Set<String> seen = new HashSet<>();
    try (var answers = client.streamEmbed(source, embedOptions())) {
      while ((leaveAfter == 0 || seen.size() < leaveAfter) && answers.hasNext()) {
        Answer<Embeddings> answer = answers.next();
        source.taken.incrementAndGet();
        seen.add(answer.id());
        sameGenerated(answer);
      }
    }
    equal("answered", leaveAfter == 0 ? expect.get("count").getAsInt() : leaveAfter, seen.size());
    if (leaveAfter > 0) {
      client.embed(texts(generate.get("texts")).subList(0, 1));
    }
    if (source.mostAhead > expect.get("max_ahead").getAsInt()) {
      throw new AssertionError(source.mostAhead + " requests ahead");
    }
  }

  private void sameGenerated(Answer<Embeddings> answer) {
    if (answer.error() != null) {
      throw answer.error();
    }
    same(vector(Integer.parseInt(answer.id())), answer.result().results().get(0).vector());
  }

  private double[] vector(int place) {
    JsonArray vectors = expect.getAsJsonArray("vectors");
    return floats(vectors.get(place % vectors.size()));
  }

  private void failoverCalls(SemserveClient client) throws Exception {
    List<String> texts = texts(given.get("texts"));
    warm(client, texts);
    Stop stop = new Stop();
    AtomicInteger next = new AtomicInteger();
    int count = given.get("count").getAsInt();
    sideBySide(
        () -> {
          for (int place = next.getAndIncrement(); place < count; place = next.getAndIncrement()) {
            var results = client.embed(List.of(texts.get(place % texts.size()))).results();
            same(vector(place), results.get(0).vector());
            stop.answered();
          }
          return null;
        });
    stop.done();
  }

  private void failoverStreams(SemserveClient client) throws Exception {
    List<String> texts = texts(given.get("texts"));
    warm(client, texts);
    Stop stop = new Stop();
    int count = given.get("count").getAsInt();
    sideBySide(
        () -> {
          Set<String> seen = new HashSet<>();
          int answered = 0;
          try (var answers = client.streamEmbed(new Source(texts, count))) {
            while (answers.hasNext()) {
              Answer<Embeddings> answer = answers.next();
              answered++;
              seen.add(answer.id());
              sameGenerated(answer);
              stop.answered();
            }
          }
          equal("answered", List.of(count, count), List.of(answered, seen.size()));
          return null;
        });
    stop.done();
  }

  private void sideBySide(Callable<Void> work) throws Exception {
    int atOnce = given.get("at_once").getAsInt();
    ExecutorService threads = Executors.newFixedThreadPool(atOnce);
    try {
      for (Future<Void> done : threads.invokeAll(Collections.nCopies(atOnce, work))) {
        done.get();
      }
    } finally {
      threads.shutdownNow();
    }
  }

  private static void warm(SemserveClient client, List<String> texts) {
    for (int call = 0; call < 20; call++) {
      client.embed(texts.subList(0, 1));
    }
  }

  private void sameEmbeddings(JsonObject expected, Embeddings found) {
    List<Embedding> results = found.results();
    List<float[]> vectors = new ArrayList<>();
    results.forEach(result -> vectors.add(result.vector()));
    if (expected.has("each")) {
      JsonArray all = new JsonArray();
      for (int copy = 0; copy < expected.get("count").getAsInt(); copy++) {
        all.add(expected.get("each"));
      }
      sameRows(all, vectors);
    }
    if (expected.has("vectors")) {
      sameRows(expected.getAsJsonArray("vectors"), vectors);
    }
    if (expected.has("model")) {
      equal("model", expected.get("model").getAsString(), found.model());
    }
    if (expected.has("token_counts")) {
      equal(
          "token_counts",
          integers(expected.get("token_counts")),
          results.stream().map(Embedding::tokenCount).toList());
    }
    if (expected.has("truncated_tokens")) {
      equal(
          "truncated_tokens",
          integers(expected.get("truncated_tokens")),
          results.stream().map(Embedding::truncatedTokens).toList());
    }
    if (expected.has("usage_token_count")) {
      equal("usage", expected.get("usage_token_count").getAsLong(), found.usage().tokenCount());
    }
    List<SemserveException> errors = new ArrayList<>();
    results.forEach(result -> errors.add(result.error()));
    sameErrors(expected, errors);
  }

  private void sameClassifications(JsonObject expected, Classifications found) {
    List<Classification> results = found.results();
    if (expected.has("model")) {
      equal("model", expected.get("model").getAsString(), found.model());
    }
    if (expected.has("labels")) {
      JsonArray labels = expected.getAsJsonArray("labels");
      for (int place = 0; place < labels.size(); place++) {
        JsonElement label = labels.get(place);
        equal("label", label.isJsonNull() ? "" : label.getAsString(), results.get(place).label());
      }
    }
    if (expected.has("classes")) {
      equal(
          "classes",
          texts(expected.get("classes")),
          results.get(0).scores().stream().map(Classification.LabelScore::label).toList());
    }
    List<float[]> scores = new ArrayList<>();
    List<float[]> logits = new ArrayList<>();
    for (Classification result : results) {
      float[] row = new float[result.scores().size()];
      for (int place = 0; place < row.length; place++) {
        row[place] = result.scores().get(place).score();
      }
      scores.add(result.error() == null ? row : null);
      logits.add(result.error() == null ? result.logits() : null);
    }
    if (expected.has("scores")) {
      sameRows(expected.getAsJsonArray("scores"), scores);
    }
    if (expected.has("logits")) {
      sameRows(expected.getAsJsonArray("logits"), logits);
    }
    List<SemserveException> errors = new ArrayList<>();
    results.forEach(result -> errors.add(result.error()));
    sameErrors(expected, errors);
  }

  private void sameSparse(SparseEmbeddings found) {
    if (expect.has("model")) {
      equal("model", expect.get("model").getAsString(), found.model());
    }
    JsonArray results = expect.getAsJsonArray("results");
    equal("results", results.size(), found.results().size());
    List<SemserveException> errors = new ArrayList<>();
    for (int place = 0; place < results.size(); place++) {
      SparseEmbedding one = found.results().get(place);
      errors.add(one.error());
      if (!results.get(place).isJsonNull()) {
        JsonObject expected = results.get(place).getAsJsonObject();
        List<Integer> indices = java.util.Arrays.stream(one.indices()).boxed().toList();
        equal("indices", integers(expected.get("indices")), indices);
        same(floats(expected.get("values")), one.values());
        equal(
            "tokens",
            expected.has("tokens") ? texts(expected.get("tokens")) : List.of(),
            one.tokens());
      }
    }
    sameErrors(expect, errors);
  }

  private void sameScores(Scores found) {
    if (expect.has("model")) {
      equal("model", expect.get("model").getAsString(), found.model());
    }
    JsonArray scores = expect.getAsJsonArray("scores");
    equal("scores", scores.size(), found.scores().length);
    List<SemserveException> errors = new ArrayList<>();
    for (int place = 0; place < scores.size(); place++) {
      float score = found.scores()[place];
      errors.add(found.errors().get(place));
      equal("absent", scores.get(place).isJsonNull(), Float.isNaN(score));
      if (!Float.isNaN(score)) {
        same(new double[] {scores.get(place).getAsDouble()}, new float[] {score});
      }
    }
    sameErrors(expect, errors);
  }

  private void sameServer(GetServerInfoResponse found) {
    for (var limit : expect.getAsJsonObject("limits").entrySet()) {
      var field = ServerLimits.getDescriptor().findFieldByName(limit.getKey());
      equal(
          limit.getKey(),
          limit.getValue().getAsString(),
          String.valueOf(found.getLimits().getField(field)));
    }
    JsonObject defaults = new JsonObject();
    for (var one : found.getDefaultModelsList()) {
      String task = one.getTask().name().substring("TASK_".length()).toLowerCase(Locale.ROOT);
      defaults.addProperty(task, one.getModel());
    }
    equal("default models", expect.getAsJsonObject("default_models"), defaults);
    equal("default_top_k", expect.get("default_top_k").getAsInt(), found.getDefaultTopK());
    equal(
        "allow_model_control",
        expect.get("allow_model_control").getAsBoolean(),
        found.getAllowModelControl());
  }

  private void sameHits(JsonElement expected, List<Hit> found) {
    JsonArray hits = expected.getAsJsonArray();
    equal("hits", hits.size(), found.size());
    for (int place = 0; place < found.size(); place++) {
      JsonArray hit = hits.get(place).getAsJsonArray();
      equal("index", hit.get(0).getAsInt(), found.get(place).index());
      same(new double[] {hit.get(1).getAsDouble()}, new float[] {found.get(place).score()});
    }
  }

  private void sameModels(List<ModelInfo> found) {
    JsonArray models = expect.getAsJsonArray("models");
    equal("models", models.size(), found.size());
    for (int place = 0; place < found.size(); place++) {
      ModelInfo model = found.get(place);
      for (Map.Entry<String, JsonElement> field : models.get(place).getAsJsonObject().entrySet()) {
        var descriptor = ModelInfo.getDescriptor().findFieldByName(field.getKey());
        JsonElement wanted = field.getValue();
        if (field.getKey().equals("prompts")) {
          JsonObject prompts = new JsonObject();
          model.getPromptsMap().forEach(prompts::addProperty);
          equal("prompts", wanted, prompts);
        } else if (wanted.isJsonArray()) {
          equal(field.getKey(), String.valueOf(texts(wanted)), String.valueOf(model.getField(descriptor)));
        } else {
          String value = String.valueOf(model.getField(descriptor));
          // An enum's name ends in the word, such as TASK_EMBEDDING.
          String word = descriptor.getJavaType() == JavaType.ENUM ? prefix(descriptor) + wanted.getAsString().toUpperCase(Locale.ROOT) : wanted.getAsString();
          equal(field.getKey(), word, value);
        }
      }
    }
  }

  private static String prefix(FieldDescriptor descriptor) {
    String name = descriptor.getEnumType().getValues().get(0).getName();
    return name.substring(0, name.length() - "UNSPECIFIED".length());
  }

  private void sameRows(JsonArray expected, List<float[]> found) {
    equal("number of rows", expected.size(), found.size());
    for (int place = 0; place < found.size(); place++) {
      equal("row " + place, expected.get(place).isJsonNull(), found.get(place) == null);
      if (found.get(place) != null) {
        same(floats(expected.get(place)), found.get(place));
      }
    }
  }

  private void same(double[] expected, float[] found) {
    equal("length", expected.length, found.length);
    for (int place = 0; place < found.length; place++) {
      if (!(Math.abs(expected[place] - found[place]) <= tolerance)) {
        throw new AssertionError("expected " + expected[place] + ", found " + found[place]);
      }
    }
  }

  private void sameErrors(JsonObject expected, List<SemserveException> found) {
    JsonObject errors = expected.has("errors") ? expected.getAsJsonObject("errors") : new JsonObject();
    for (int place = 0; place < found.size(); place++) {
      JsonObject error = errors.getAsJsonObject(String.valueOf(place));
      equal("error " + place, error == null, found.get(place) == null);
      if (error != null) {
        sameError(error, found.get(place));
      }
    }
  }

  private static void sameError(JsonObject expected, Throwable found) {
    if (!(found instanceof SemserveException failed)
        || !failed.code().name().equals(expected.get("code").getAsString())) {
      throw new AssertionError("expected " + expected + ", found " + found, found);
    }
    if (expected.has("fields")) {
      equal(
          "fields",
          texts(expected.get("fields")),
          failed.violations().stream().map(SemserveException.Violation::field).toList());
    }
    if (expected.has("retry_after_s")) {
      double seconds = failed.retryAfter().orElseThrow().toNanos() / 1e9;
      JsonArray bounds = expected.getAsJsonArray("retry_after_s");
      if (seconds < bounds.get(0).getAsDouble() || seconds > bounds.get(1).getAsDouble()) {
        throw new AssertionError("retry after " + seconds + " s, not " + bounds);
      }
    }
  }

  private EmbedOptions embedOptions() {
    EmbedOptions options = EmbedOptions.DEFAULT;
    if (given.has("model")) {
      options = options.model(text("model"));
    }
    if (given.has("normalize")) {
      options = options.normalize(given.get("normalize").getAsBoolean());
    }
    if (given.has("dimensions")) {
      options = options.dimensions(given.get("dimensions").getAsInt());
    }
    if (given.has("truncation")) {
      options = options.truncation(Truncation.valueOf("TRUNCATION_" + upper("truncation")));
    }
    if (given.has("encoding")) {
      options = options.encoding(VectorEncoding.valueOf("VECTOR_ENCODING_" + upper("encoding")));
    }
    if (given.has("partial")) {
      options = options.partial();
    }
    if (given.has("prompt")) {
      options = options.prompt(text("prompt"));
    }
    if (given.has("side")) {
      options = options.side(Side.valueOf("SIDE_" + upper("side")));
    }
    return given.has("timeout_s") ? options.timeout(timeout()) : options;
  }

  private SparseOptions sparseOptions() {
    SparseOptions options = SparseOptions.DEFAULT;
    if (given.has("top_k")) {
      options = options.topK(given.get("top_k").getAsInt());
    }
    if (given.has("tokens")) {
      options = options.tokens();
    }
    return given.has("partial") ? options.partial() : options;
  }

  private ScoreOptions scoreOptions() {
    ScoreOptions options = ScoreOptions.DEFAULT;
    if (given.has("model")) {
      options = options.model(text("model"));
    }
    if (given.has("top_k")) {
      options = options.topK(given.get("top_k").getAsInt());
    }
    return given.has("partial") ? options.partial() : options;
  }

  private ClassifyOptions classifyOptions() {
    ClassifyOptions options = ClassifyOptions.DEFAULT;
    if (given.has("model")) {
      options = options.model(text("model"));
    }
    if (given.has("partial")) {
      options = options.partial();
    }
    return given.has("timeout_s") ? options.timeout(timeout()) : options;
  }

  private SimilarityOptions similarityOptions() {
    SimilarityOptions options = SimilarityOptions.DEFAULT;
    if (given.has("model")) {
      options = options.model(text("model"));
    }
    if (given.has("metric")) {
      options = options.metric(Metric.valueOf("METRIC_" + upper("metric")));
    }
    if (given.has("top_k")) {
      options = options.topK(given.get("top_k").getAsInt());
    }
    if (given.has("prompt")) {
      options = options.prompt(text("prompt"));
    }
    for (String other : List.of("right_prompt", "document_prompt")) {
      if (given.has(other)) {
        options = options.otherPrompt(text(other));
      }
    }
    return options;
  }

  private Duration timeout() {
    return Duration.ofNanos((long) (given.get("timeout_s").getAsDouble() * 1e9));
  }

  private String text(String name) {
    return given.get(name).getAsString();
  }

  private String upper(String name) {
    return text(name).toUpperCase(Locale.ROOT);
  }

  private java.util.stream.Stream<JsonObject> requests() {
    return elements(given.get("requests")).map(JsonElement::getAsJsonObject);
  }

  private List<ComparePair> comparePairs() {
    return elements(given.get("pairs"))
        .map(pair -> new ComparePair(item(pair, 0), item(pair, 1)))
        .toList();
  }

  private static String id(JsonObject request) {
    return request.get("id").getAsString();
  }

  private static List<ClassifyPair> pairs(JsonElement pairs) {
    return elements(pairs)
        .map(
            pair ->
                pair.getAsJsonArray().size() == 1
                    ? new ClassifyPair(item(pair, 0))
                    : new ClassifyPair(item(pair, 0), item(pair, 1)))
        .toList();
  }

  private static String item(JsonElement list, int place) {
    return list.getAsJsonArray().get(place).getAsString();
  }

  private static List<String> texts(JsonElement items) {
    List<String> made = new ArrayList<>();
    for (JsonElement item : items.getAsJsonArray()) {
      if (item.isJsonObject()) {
        JsonObject one = item.getAsJsonObject();
        int times = one.has("times") ? one.get("times").getAsInt() : 1;
        int copies = one.has("copies") ? one.get("copies").getAsInt() : 1;
        made.addAll(Collections.nCopies(copies, one.get("text").getAsString().repeat(times)));
      } else {
        made.add(item.getAsString());
      }
    }
    return made;
  }

  private static double[] floats(JsonElement row) {
    return elements(row).mapToDouble(JsonElement::getAsDouble).toArray();
  }

  private static List<Integer> integers(JsonElement row) {
    return elements(row).map(JsonElement::getAsInt).toList();
  }

  private static java.util.stream.Stream<JsonElement> elements(JsonElement list) {
    return StreamSupport.stream(list.getAsJsonArray().spliterator(), false);
  }

  private static void equal(String name, Object expected, Object found) {
    if (!Objects.equals(expected, found)) {
      throw new AssertionError(name + ": expected " + expected + ", found " + found);
    }
  }

  /** Generated requests, and how far they were read ahead of the answers taken. */
  private static final class Source implements Iterator<Request<String>> {
    final AtomicInteger taken = new AtomicInteger();
    volatile int mostAhead;
    private final List<String> texts;
    private final int count;
    private int read;

    Source(List<String> texts, int count) {
      this.texts = texts;
      this.count = count;
    }

    @Override
    public boolean hasNext() {
      return read < count;
    }

    @Override
    public Request<String> next() {
      mostAhead = Math.max(mostAhead, read + 1 - taken.get());
      return new Request<>(String.valueOf(read), List.of(texts.get(read++ % texts.size())));
    }
  }

  /** Has a server killed once there were so many answers, while calls go on. */
  private final class Stop {
    private final AtomicInteger answers = new AtomicInteger();
    private volatile CompletableFuture<String> stopped;

    void answered() {
      if (answers.incrementAndGet() == given.get("stop_after").getAsInt()) {
        System.out.println("stop " + text("stop"));
        stopped =
            CompletableFuture.supplyAsync(
                () -> {
                  try {
                    return INPUT.readLine();
                  } catch (java.io.IOException failed) {
                    throw new IllegalStateException(failed);
                  }
                });
      }
    }

    void done() throws Exception {
      equal("the server", "stopped " + text("stop"), stopped.get());
    }
  }
}
