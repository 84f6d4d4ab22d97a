// One case: the call it makes, and what has to come of it.

import { deepStrictEqual } from "node:assert";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Client, SemserveError } from "../src/index.js";
import type {
  Answer, CallOptions, Classifications, ClassifyPair, ClientOptions, Embeddings, Hit, ModelInfo, Request, Scored, Scores,
  ServerInfo, SparseEmbeddings,
} from "../src/index.js";

/** A case of the table, as CASES.md describes it. */
export interface Case {
  readonly name: string;
  readonly server: string;
  readonly call: string;
  readonly given: any;
  readonly expect: any;
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Runs one case; throws where it does not come out as the table says. */
export async function run(one: Case, servers: Record<string, string>, tolerance: number): Promise<void> {
  const runner = new Runner(one, servers, one.expect.tolerance ?? tolerance);
  await (one.call === "connect" ? runner.refuses() : runner.check());
}

class Runner {
  readonly #given: any;
  readonly #expect: any;
  readonly #signal = new AbortController();

  constructor(
    private readonly one: Case,
    private readonly servers: Record<string, string>,
    private readonly tolerance: number,
  ) {
    this.#given = one.given;
    this.#expect = one.expect;
  }

  refuses(): void {
    try {
      new Client(this.#given.address ?? "127.0.0.1:50051", { key: this.#given.key ?? "" }).close();
    } catch (error) {
      if (error instanceof RangeError) {
        return;
      }
      throw error;
    }
    throw new Error("a client was made");
  }

  async check(): Promise<void> {
    const client = this.#client();
    try {
      const asked = this.#ask(client);
      if (this.#given.cancel) {
        setImmediate(() => this.#signal.abort());
      }
      const expected = this.#expect.cancelled ? { code: "CANCELLED" } : this.#expect.error;
      if (!expected) {
        await asked;
        return;
      }
      const failed = await asked.then(() => undefined, (error: unknown) => error);
      this.#sameError(expected, failed);
    } finally {
      client.close();
    }
  }

  #client(): Client {
    const names = this.one.server.split("+");
    const options: { -readonly [name in keyof ClientOptions]: ClientOptions[name] } = {};
    if (this.one.server === "secured") {
      options.tls = { ca: readFileSync(process.env["SEMSERVE_TLS_CA"] as string) };
      options.key = this.#given.key ?? process.env["SEMSERVE_KEY"];
    }
    if (this.#given.in_flight) {
      options.inFlight = this.#given.in_flight;
    }
    return new Client(names.map((name) => this.servers[name] as string), options);
  }

  #options(): CallOptions & Record<string, any> {
    const { model, truncation, normalize, dimensions, encoding, partial, metric, top_k: topK, timeout_s } = this.#given;
    const { prompt, right_prompt: rightPrompt, document_prompt: documentPrompt, side, tokens } = this.#given;
    const all = {
      model, truncation, normalize, dimensions, encoding, partial, metric, topK,
      prompt, rightPrompt, documentPrompt, side, tokens,
      timeoutMs: timeout_s && timeout_s * 1000, signal: this.#signal.signal,
    };
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  }

  /** Compares what an answer with scores tells about all its texts, and gives its scores. */
  #scores<T>({ model, scores, usage, truncatedTokens }: Scored<T>): T {
    const totals = { model, usage_token_count: usage.tokenCount, all_truncated_tokens: truncatedTokens };
    for (const [name, found] of Object.entries(totals)) {
      if (name in this.#expect) deepStrictEqual(found, this.#expect[name]);
    }
    return scores;
  }

  async #ask(client: Client): Promise<void> {
    const given = this.#given;
    const expect = this.#expect;
    const options = this.#options();
    switch (this.one.call) {
      case "embed":
        return this.#sameEmbeddings(expect, await client.embed(texts(given.texts), options));
      case "classify":
        return this.#sameClassifications(expect, await client.classify(given.pairs.map(pair), options));
      case "compare": {
        const pairs = given.pairs.map(([left, right]: string[]) => ({ left, right }));
        return this.#same(expect.scores, this.#scores(await client.compare(pairs, options)));
      }
      case "rank":
        return this.#sameHits(expect.hits, this.#scores(await client.rank(given.query, given.documents, options)));
      case "search": {
        const found = this.#scores(await client.search(given.queries, given.corpus, options));
        deepStrictEqual(found.length, expect.results.length);
        return found.forEach((hits, place) => this.#sameHits(expect.results[place], hits));
      }
      case "matrix": {
        const rows = this.#scores(await client.matrix(texts(given.left), given.right, options));
        return this.#sameRows(expect.rows ?? square(expect), rows);
      }
      case "embed_sparse":
        return this.#sameSparse(await client.embedSparse(texts(given.texts), options));
      case "score":
        return this.#sameScores(
          given.pairs
            ? await client.score(given.pairs.map(([left, right]: string[]) => ({ left, right })), options)
            : await client.scoreTexts(given.texts, options),
        );
      case "rerank":
        return this.#sameHits(expect.hits, this.#scores(await client.rerank(given.query, given.documents, options)));
      case "server_info":
        return sameServer(expect, await client.serverInfo(options));
      case "models":
        return sameModels(expect.models, await client.models(options));
      case "model":
        return sameModels(expect.models, [await client.model(given.model, options)]);
      case "load_model":
        return void (await client.loadModel(given.model, options));
      case "tokenize": {
        const found = await client.tokenize(texts(given.texts), options);
        const read = found.map(({ truncatedTokens, ...same }) => ({ ...same, truncated_tokens: truncatedTokens }));
        return deepStrictEqual(read, expect.results);
      }
      case "health":
        return deepStrictEqual(await client.healthy(given.model, options), expect.serving);
      case "stream_embed":
        return given.generate ? this.#generated(client) : this.#streamEmbed(client);
      case "stream_classify": {
        const requests = given.requests.map(({ id, pairs }: any) => ({ id, items: pairs.map(pair) }));
        const answers = client.streamClassify(requests, options);
        return this.#sameAnswers(answers, (expected, found) => this.#sameClassifications(expected, found));
      }
      case "failover_calls":
        return this.#failoverCalls(client);
      case "failover_streams":
        return this.#failoverStreams(client);
      default:
        throw new Error(`no such call: ${this.one.call}`);
    }
  }

  async #streamEmbed(client: Client): Promise<void> {
    const requests = this.#given.requests.map((request: any) => ({ id: request.id, items: texts(request.texts) }));
    const answers = client.streamEmbed(requests, this.#options());
    await this.#sameAnswers(answers, (expected, found) => this.#sameEmbeddings(expected, found));
  }

  async #sameAnswers<Result>(
    answers: AsyncIterable<Answer<Result>>,
    same: (expected: any, found: Result) => void,
  ): Promise<void> {
    const seen: string[] = [];
    for await (const { id, result, error } of answers) {
      seen.push(id);
      const expected = this.#expect.answers[id];
      if (expected.error) {
        this.#sameError(expected.error, error);
      } else if (error) {
        throw error;
      } else {
        same(expected, result);
      }
    }
    deepStrictEqual(seen.sort(), Object.keys(this.#expect.answers).sort());
  }

  async #generated(client: Client): Promise<void> {
    const { generate, leave_after: leaveAfter } = this.#given;
    const source = new Source(generate.texts, generate.count);
    const seen = new Set<string>();
    for await (const answer of client.streamEmbed(source.requests(), this.#options())) {
      source.taken++;
      seen.add(answer.id);
      this.#sameGenerated(answer);
      if (seen.size === leaveAfter) {
        break;
      }
    }
    deepStrictEqual(seen.size, leaveAfter ?? this.#expect.count);
    if (leaveAfter) {
      await source.left;
      await client.embed(generate.texts.slice(0, 1));
    }
    if (source.mostAhead > this.#expect.max_ahead) {
      throw new Error(`${source.mostAhead} requests ahead, not ${this.#expect.max_ahead}`);
    }
  }

  #sameGenerated({ id, result, error }: Answer<Embeddings>): void {
    if (error) {
      throw error;
    }
    this.#same(this.#vector(Number(id)), result.results[0]?.vector ?? []);
  }

  #vector(place: number): number[] {
    return this.#expect.vectors[place % this.#expect.vectors.length];
  }

  async #failoverCalls(client: Client): Promise<void> {
    const { texts, count, at_once: atOnce } = this.#given;
    await this.#warm(client);
    const stop = new Stop(this.#given);
    let next = 0;
    const work = async () => {
      while (next < count) {
        const place = next++;
        const { results } = await client.embed([texts[place % texts.length]]);
        this.#same(this.#vector(place), results[0]?.vector ?? []);
        stop.answered();
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    await stop.done;
  }

  async #failoverStreams(client: Client): Promise<void> {
    const { texts, count, at_once: atOnce } = this.#given;
    await this.#warm(client);
    const stop = new Stop(this.#given);
    const work = async () => {
      const seen: string[] = [];
      for await (const answer of client.streamEmbed(new Source(texts, count).requests())) {
        seen.push(answer.id);
        this.#sameGenerated(answer);
        stop.answered();
      }
      deepStrictEqual([seen.length, new Set(seen).size], [count, count]);
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    await stop.done;
  }

  async #warm(client: Client): Promise<void> {
    for (let call = 0; call < 20; call++) {
      await client.embed(this.#given.texts.slice(0, 1));
    }
  }

  #sameEmbeddings(expected: any, found: Embeddings): void {
    const { results } = found;
    const vectors = results.map(({ vector }) => vector);
    if (expected.each) {
      this.#sameRows(Array(expected.count).fill(expected.each), vectors);
    }
    if (expected.vectors) {
      this.#sameRows(expected.vectors, vectors);
    }
    const read = {
      model: found.model,
      token_counts: results.map(({ tokenCount }) => tokenCount),
      truncated_tokens: results.map(({ truncatedTokens }) => truncatedTokens),
      usage_token_count: found.usage.tokenCount,
    };
    sameFields(expected, read);
    this.#sameErrors(expected, results);
  }

  #sameClassifications(expected: any, found: Classifications): void {
    const { results } = found;
    const good = (row: readonly number[]) => (row.length ? row : undefined);
    const read = {
      model: found.model,
      labels: results.map(({ label }) => label || null),
      classes: results[0]?.scores.map(({ label }) => label),
    };
    sameFields(expected, read);
    if (expected.scores) {
      this.#sameRows(expected.scores, results.map(({ scores }) => good(scores.map(({ score }) => score))));
    }
    if (expected.logits) {
      this.#sameRows(expected.logits, results.map(({ logits }) => good(logits)));
    }
    this.#sameErrors(expected, results);
  }

  #sameSparse({ model, results }: SparseEmbeddings): void {
    sameFields(this.#expect, { model });
    this.#sameErrors(this.#expect, results);
    deepStrictEqual(results.length, this.#expect.results.length);
    this.#expect.results.forEach((expected: any, place: number) => {
      if (expected) {
        const { indices, values, tokens } = results[place] as SparseEmbeddings["results"][number];
        deepStrictEqual([...indices], expected.indices);
        this.#same(expected.values, values);
        deepStrictEqual(tokens, expected.tokens ?? []);
      }
    });
  }

  #sameScores({ model, scores, errors }: Scores): void {
    sameFields(this.#expect, { model });
    const each = (value: number) => (Number.isNaN(value) ? undefined : [value]);
    this.#sameRows(this.#expect.scores.map((score: number | null) => score && [score]), [...scores].map(each));
    this.#sameErrors(this.#expect, [...scores].map((_, place) => (errors.has(place) ? { error: errors.get(place)! } : {})));
  }

  #sameHits(expected: [number, number][], found: readonly Hit[]): void {
    deepStrictEqual(found.map(({ index }) => index), expected.map(([index]) => index));
    this.#same(expected.map(([, score]) => score), found.map(({ score }) => score));
  }

  #sameRows(expected: (number[] | null)[], found: readonly (ArrayLike<number> | undefined)[]): void {
    deepStrictEqual(found.map((row) => row !== undefined), expected.map((row) => row !== null));
    expected.forEach((row, place) => row && this.#same(row, found[place] ?? []));
  }

  #same(expected: readonly number[], found: ArrayLike<number>): void {
    const near = expected.every((value, place) => Math.abs(value - (found[place] ?? NaN)) <= this.tolerance);
    if (expected.length !== found.length || !near) {
      throw new Error(`expected ${expected}, found ${Array.from(found)}`);
    }
  }

  #sameErrors(expected: any, results: readonly { error?: SemserveError }[]): void {
    const errors = expected.errors ?? {};
    const places = results.flatMap(({ error }, place) => (error ? [String(place)] : []));
    deepStrictEqual(places, Object.keys(errors));
    places.forEach((place) => this.#sameError(errors[place], results[Number(place)]?.error));
  }

  #sameError(expected: any, found: unknown): void {
    if (!(found instanceof SemserveError) || found.code !== expected.code) {
      throw new Error(`expected ${JSON.stringify(expected)}, found ${found}`);
    }
    if (expected.fields) {
      deepStrictEqual(found.violations.map(({ field }) => field), expected.fields);
    }
    if (expected.retry_after_s) {
      const [least, most] = expected.retry_after_s;
      const seconds = (found.retryAfterMs ?? NaN) / 1000;
      if (!(least <= seconds && seconds <= most)) {
        throw new Error(`retry after ${seconds} s, not ${least} to ${most} s`);
      }
    }
  }
}

/** Generated requests, and how far they were read ahead of the answers taken. */
class Source {
  taken = 0;
  mostAhead = 0;
  readonly left: Promise<void>;
  #leave: () => void = () => {};

  constructor(
    private readonly texts: string[],
    private readonly count: number,
  ) {
    this.left = new Promise((resolve) => (this.#leave = resolve));
  }

  *requests(): Generator<Request<string>> {
    try {
      for (let place = 0; place < this.count; place++) {
        this.mostAhead = Math.max(this.mostAhead, place + 1 - this.taken);
        yield { id: String(place), items: [this.texts[place % this.texts.length] as string] };
      }
    } finally {
      this.#leave();
    }
  }
}

/** Has a server killed once there were so many answers, while calls go on. */
class Stop {
  done: Promise<void> = Promise.reject(new Error("there were too few answers to stop a server"));
  #answers = 0;

  constructor(private readonly given: { stop: string; stop_after: number }) {
    this.done.catch(() => {});
  }

  answered(): void {
    if (++this.#answers === this.given.stop_after) {
      console.log(`stop ${this.given.stop}`);
      this.done = lines.next().then(({ value }) => deepStrictEqual(value, `stopped ${this.given.stop}`));
    }
  }
}

function texts(items: (string | { text: string; times?: number; copies?: number })[]): string[] {
  return items.flatMap((item) => {
    const { text, times = 1, copies = 1 } = typeof item === "string" ? { text: item } : item;
    return Array<string>(copies).fill(text.repeat(times));
  });
}

function pair([premise = "", hypothesis]: string[]): ClassifyPair {
  return hypothesis === undefined ? { premise } : { premise, hypothesis };
}

function square({ count, each_score: score }: { count: number; each_score: number }): number[][] {
  return Array(count).fill(Array(count).fill(score));
}

function sameFields(expected: any, found: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(found)) {
    if (name in expected) {
      deepStrictEqual(value, expected[name], name);
    }
  }
}

function sameServer(expected: any, found: ServerInfo): void {
  const limits = Object.fromEntries(Object.keys(expected.limits).map((name) => [name, found.limits[camel(name) as "maxHits"]]));
  deepStrictEqual(limits, expected.limits);
  deepStrictEqual(found.defaultModels, expected.default_models);
  deepStrictEqual([found.defaultTopK, found.allowModelControl], [expected.default_top_k, expected.allow_model_control]);
}

function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function sameModels(expected: any[], found: readonly ModelInfo[]): void {
  deepStrictEqual(found.length, expected.length);
  expected.forEach((fields, place) => {
    for (const [name, value] of Object.entries(fields)) {
      deepStrictEqual(found[place]?.[camel(name) as keyof ModelInfo], value, name);
    }
  });
}
