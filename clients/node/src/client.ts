// The client.

import { create } from "@bufbuild/protobuf";
import { classifications, classifyRequest, readClassify, writeClassify } from "./classification.js";
import type { Classifications, ClassifyOptions, ClassifyPair } from "./classification.js";
import { Connection, type CallOptions, type ClientOptions } from "./connection.js";
import { embeddings, embedRequest, readEmbed, writeEmbed, type Embeddings, type EmbedOptions } from "./embedding.js";
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from "./gen/grpc/health/v1/health_pb.js";
import { ClassificationService } from "./gen/semserve/v1/classification_pb.js";
import { EmbeddingService } from "./gen/semserve/v1/embedding_pb.js";
import { ModelService } from "./gen/semserve/v1/model_pb.js";
import { ScoreService } from "./gen/semserve/v1/score_pb.js";
import { ComparePairSchema, SimilarityService } from "./gen/semserve/v1/similarity_pb.js";
import { modelInfo, serverInfo, type ModelInfo, type ServerInfo, type Tokens } from "./models.js";
import { scoreRequest, scores, type PartialScoreOptions, type RerankOptions, type Scores } from "./score.js";
import { compared, hits, ranked, scored } from "./similarity.js";
import type { CompareOptions, ComparePair, Hit, ModelOptions, RankOptions, Scored } from "./similarity.js";
import { sparseEmbeddings, sparseRequest, type EmbedSparseOptions, type SparseEmbeddings } from "./sparse.js";
import { stream, type Answer, type Requests } from "./stream.js";
import { given, truncations } from "./values.js";

/**
 * A semserve server. One client is enough for a program; calls may run side by side. Nothing is
 * connected before the first call. Every method rejects with a `SemserveError`.
 */
export class Client {
  readonly #connection: Connection;

  /**
   * @param addresses HOST:PORT, or several of them in a list or with commas between, over which
   *   calls are balanced; `unix:PATH`, or another target that gRPC resolves.
   * @throws RangeError an address, the key or another option cannot be used.
   */
  constructor(addresses: string | readonly string[], options: ClientOptions = {}) {
    this.#connection = new Connection(addresses, options);
  }

  /** Ends every call in flight, and the connections. */
  close(): void {
    this.#connection.close();
  }

  /** Turns texts into vectors, in the order of the texts. Many texts in one call cost least. */
  async embed(texts: readonly string[], options: EmbedOptions = {}): Promise<Embeddings> {
    return embeddings(await this.#connection.unary(EmbeddingService.method.embed, embedRequest(texts, options), options));
  }

  /**
   * Embeds a stream of requests and yields each answer as soon as it is ready, in any order.
   *
   * Each request is answered exactly once. A request that fails has an error of its own, and the
   * stream goes on; one that the server shed, or that it had when it went away, is sent again. The
   * timeout bounds the wait for each answer. To leave the loop ends the stream.
   */
  streamEmbed(requests: Requests<string>, options: EmbedOptions = {}): AsyncGenerator<Answer<Embeddings>, void, undefined> {
    const protocol = {
      open: () => this.#connection.open(EmbeddingService.method.streamEmbed, options),
      write: (name: string, texts: readonly string[]) => writeEmbed(name, texts, options),
      read: readEmbed,
      alone: (texts: readonly string[]) => this.embed(texts, options),
    };
    return stream(this.#connection, protocol, requests, options);
  }

  /** Turns texts into sparse vectors, in the order of the texts. */
  async embedSparse(texts: readonly string[], options: EmbedSparseOptions = {}): Promise<SparseEmbeddings> {
    const { embedSparse } = EmbeddingService.method;
    return sparseEmbeddings(await this.#connection.unary(embedSparse, sparseRequest(texts, options), options));
  }

  /** Labels pairs, in the order of the pairs. */
  async classify(pairs: readonly ClassifyPair[], options: ClassifyOptions = {}): Promise<Classifications> {
    const { classify } = ClassificationService.method;
    return classifications(await this.#connection.unary(classify, classifyRequest(pairs, options), options));
  }

  /** Labels a stream of requests, by the rules of `streamEmbed`. */
  streamClassify(
    requests: Requests<ClassifyPair>,
    options: ClassifyOptions = {},
  ): AsyncGenerator<Answer<Classifications>, void, undefined> {
    const protocol = {
      open: () => this.#connection.open(ClassificationService.method.streamClassify, options),
      write: (name: string, pairs: readonly ClassifyPair[]) => writeClassify(name, pairs, options),
      read: readClassify,
      alone: (pairs: readonly ClassifyPair[]) => this.classify(pairs, options),
    };
    return stream(this.#connection, protocol, requests, options);
  }

  /** Gives each pair one number, by a cross-encoder or another model of pairs. */
  async score(pairs: readonly ComparePair[], options: PartialScoreOptions = {}): Promise<Scores> {
    return scores(await this.#connection.unary(ScoreService.method.score, scoreRequest(pairs, [], options), options));
  }

  /** Gives each text one number, by a model of single texts. */
  async scoreTexts(texts: readonly string[], options: PartialScoreOptions = {}): Promise<Scores> {
    return scores(await this.#connection.unary(ScoreService.method.score, scoreRequest([], texts, options), options));
  }

  /** Scores each document together with the query, and sorts the documents by their score, best first. */
  async rerank(query: string, documents: readonly string[], options: RerankOptions = {}): Promise<Scored<Hit[]>> {
    const request = {
      model: options.model ?? "",
      query,
      documents: [...documents],
      truncation: truncations(options.truncation),
      ...given({ topK: options.topK }),
    };
    const answer = await this.#connection.unary(ScoreService.method.rerank, request, options);
    return scored(answer, hits(answer.hits));
  }

  /** Compares pairs of texts by their vectors, in their order. */
  async compare(pairs: readonly ComparePair[], options: CompareOptions = {}): Promise<Scored<number[]>> {
    const made = pairs.map(({ left, right }) => create(ComparePairSchema, { left, right }));
    const request = { ...compared(options), pairs: made };
    const answer = await this.#connection.unary(SimilarityService.method.compare, request, options);
    return scored(answer, answer.scores);
  }

  /** Sorts documents by their similarity to the query, best first. */
  async rank(query: string, documents: readonly string[], options: RankOptions = {}): Promise<Scored<Hit[]>> {
    const request = { ...ranked(options), query, documents: [...documents] };
    const answer = await this.#connection.unary(SimilarityService.method.rank, request, options);
    return scored(answer, hits(answer.hits));
  }

  /** Finds for each query the most similar texts of the corpus, best first. */
  async search(
    queries: readonly string[],
    corpus: readonly string[],
    options: RankOptions = {},
  ): Promise<Scored<Hit[][]>> {
    const request = { ...ranked(options), queries: [...queries], corpus: [...corpus] };
    const answer = await this.#connection.unary(SimilarityService.method.search, request, options);
    return scored(answer, answer.results.map((result) => hits(result.hits)));
  }

  /** Scores every left text against every right one, or against the left ones: a row a left text. */
  async matrix(
    left: readonly string[],
    right: readonly string[] = [],
    options: CompareOptions = {},
  ): Promise<Scored<number[][]>> {
    const request = { ...compared(options), left: [...left], right: [...right] };
    const answer = await this.#connection.unary(SimilarityService.method.matrix, request, options);
    return scored(answer, answer.rows.map(({ scores }) => scores));
  }

  /** Tells the server's version, its limits, and which models answer requests that name none. */
  async serverInfo(options: CallOptions = {}): Promise<ServerInfo> {
    return serverInfo(await this.#connection.unary(ModelService.method.getServerInfo, {}, options));
  }

  /** Lists the models, sorted by name: those that are ready, and others with their state. */
  async models(options: CallOptions = {}): Promise<ModelInfo[]> {
    return (await this.#connection.unary(ModelService.method.listModels, {}, options)).models.map(modelInfo);
  }

  /** Describes one model; the name may be empty where only one is loaded. */
  async model(name: string, options: CallOptions = {}): Promise<ModelInfo> {
    return modelInfo((await this.#connection.unary(ModelService.method.getModel, { model: name }, options)).model);
  }

  /** Has the server serve a bundle as it is on its disk now, where it allows that. */
  async loadModel(name: string, options: CallOptions = {}): Promise<ModelInfo> {
    return modelInfo((await this.#connection.unary(ModelService.method.loadModel, { model: name }, options)).model);
  }

  /** Has the server serve a model no longer, where it allows that. */
  async unloadModel(name: string, options: CallOptions = {}): Promise<void> {
    await this.#connection.unary(ModelService.method.unloadModel, { model: name }, options);
  }

  /** Shows how a model's tokenizer reads texts, without running the model. */
  async tokenize(texts: readonly string[], options: ModelOptions = {}): Promise<Tokens[]> {
    const request = { model: options.model ?? "", texts: [...texts] };
    const answer = await this.#connection.unary(ModelService.method.tokenize, request, options);
    return answer.results.map(({ tokens, ids, starts, ends, truncatedTokens }) => ({
      tokens, ids, starts, ends, truncatedTokens,
    }));
  }

  /** Tells whether the server, or one model by its name, is ready. NOT_FOUND: no such model. */
  async healthy(model = "", options: CallOptions = {}): Promise<boolean> {
    const answer = await this.#connection.unary(Health.method.check, { service: model }, options);
    return answer.status === ServingStatus.SERVING;
  }
}
