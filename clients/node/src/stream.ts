// A stream: requests go out as far ahead of their answers as the bound allows, and what a server
// shed, or had when it went away, is sent again.

import { setTimeout as delay } from "node:timers/promises";
import { status as Code, type StatusObject } from "@grpc/grpc-js";
import { cancelled, type CallOptions, type Connection, type Duplex } from "./connection.js";
import { fromCall, SemserveError } from "./errors.js";
import { Flight } from "./flight.js";
import { Inbox } from "./inbox.js";

/** One request of a stream: texts or pairs under a name of the caller's. */
export interface Request<Item> {
  /** Comes back with the answer. It is not sent: any string will do. */
  readonly id: string;
  /** What a unary call would take. */
  readonly items: readonly Item[];
}

/** The answer to one request of a stream: it has either a result or an error. */
export type Answer<Result> =
  | { readonly id: string; readonly result: Result; readonly error?: undefined }
  | { readonly id: string; readonly result?: undefined; readonly error: SemserveError };

/** Requests for a stream, read no further ahead of the answers than the client's `inFlight`. */
export type Requests<Item> = Iterable<Request<Item>> | AsyncIterable<Request<Item>>;

// A larger request is sent by itself: one that the server refuses as too large ends a whole stream.
const MAX_STREAM_REQUEST_BYTES = 3 << 20;

/** How one kind of stream is opened, writes requests and reads answers. */
export interface Protocol<Item, Received, Result> {
  open(): Duplex<Received>;
  /** Throws a SemserveError where the request cannot be sent. */
  write(name: string, items: readonly Item[]): Uint8Array;
  read(received: Received): { name: string; result?: Result; error?: SemserveError };
  /** Asks without a stream. */
  alone(items: readonly Item[]): Promise<Result>;
}

/**
 * Yields the answer of each request as soon as it is ready.
 *
 * @throws SemserveError the stream as a whole failed, or no answer came in time while one was owed.
 */
export async function* stream<Item, Received, Result>(
  connection: Connection,
  protocol: Protocol<Item, Received, Result>,
  requests: Requests<Item>,
  options: CallOptions,
): AsyncGenerator<Answer<Result>, void, undefined> {
  const exchange = new Exchange(connection, protocol, connection.timeoutMs(options), options.signal);
  try {
    exchange.start(requests);
    for (let answer = await exchange.next(); answer; answer = await exchange.next()) {
      yield answer;
    }
  } finally {
    exchange.leave();
  }
}

/** What happened on a stream since its loop looked last. */
type Event<Received, Result> =
  | { readonly received: Received }
  | { readonly early: Answer<Result> }
  | { readonly ended: StatusObject; readonly call: Duplex<Received> }
  | { readonly raised: unknown };

class Exchange<Item, Received, Result> {
  readonly #flight: Flight<Uint8Array>;
  readonly #inbox = new Inbox<Event<Received, Result>>();
  readonly #abort = () => this.#inbox.push({ raised: cancelled(this.signal) });
  #call: Duplex<Received> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #wake: () => void = () => {};
  #waitingSince = 0;
  #early = 0;
  #breaks = 0;
  #exhausted = false;
  #left = false;

  constructor(
    private readonly connection: Connection,
    private readonly protocol: Protocol<Item, Received, Result>,
    private readonly timeoutMs: number,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.#flight = new Flight(connection.inFlight);
  }

  start(requests: Requests<Item>): void {
    this.signal?.addEventListener("abort", this.#abort, { once: true });
    this.#open();
    void this.#feed(requests);
  }

  /** Gives the next answer; undefined once every request has its own. */
  async next(): Promise<Answer<Result> | undefined> {
    this.#waitingSince = Date.now();
    for (;;) {
      const event = await this.#event();
      if ("raised" in event) {
        throw event.raised;
      }
      if ("early" in event) {
        this.#early--;
        this.#changed();
        return event.early;
      }
      if ("received" in event) {
        const answer = this.#settle(event.received);
        if (answer) {
          return answer;
        }
      } else if (event.call === this.#call && (await this.#ended(event.ended))) {
        return undefined;
      }
    }
  }

  /** Ends the stream and the reading of the caller's requests. */
  leave(): void {
    this.#left = true;
    this.signal?.removeEventListener("abort", this.#abort);
    clearTimeout(this.#timer);
    this.#call?.cancel();
    this.#wake();
  }

  /** Waits for what happens next, but for an answer that is owed no longer than the timeout. */
  async #event(): Promise<Event<Received, Result>> {
    for (;;) {
      const left = this.#flight.empty ? this.timeoutMs : this.#waitingSince + this.timeoutMs - Date.now();
      const event = await this.#inbox.next(left);
      if (event) {
        return event;
      }
      if (!this.#flight.empty && Date.now() >= this.#waitingSince + this.timeoutMs) {
        throw new SemserveError("DEADLINE_EXCEEDED", `no answer on the stream for ${this.timeoutMs} ms`);
      }
    }
  }

  #open(): void {
    const call = this.protocol.open();
    this.#call = call;
    call.on("data", (received: Received) => this.#inbox.push({ received }));
    call.on("error", () => {}); // the status tells it too
    call.on("status", (ended: StatusObject) => this.#inbox.push({ ended, call }));
  }

  #settle(received: Received): Answer<Result> | undefined {
    const { name, result, error } = this.protocol.read(received);
    const id = this.#flight.settle(name, error, Date.now());
    this.#breaks = 0;
    this.#changed();
    if (id === undefined) {
      return undefined;
    }
    return error ? { id, error } : { id, result: result as Result };
  }

  /** Takes the end of a stream: true where all is answered, else another stream goes on. */
  async #ended(ended: StatusObject): Promise<boolean> {
    this.#call = undefined;
    if (this.#exhausted && this.#flight.empty && this.#early === 0) {
      return true;
    }
    if (ended.code === Code.OK) {
      throw new SemserveError("INTERNAL", "the server ended the stream before it had answered everything");
    }
    const failed = fromCall(ended, ended);
    const wait = this.connection.wait(failed, ++this.#breaks, true);
    if (wait === undefined || Date.now() + wait >= this.#waitingSince + this.timeoutMs) {
      throw failed;
    }
    await delay(wait);
    if (this.signal?.aborted) {
      throw cancelled(this.signal);
    }
    this.#open();
    this.#flight.sent().forEach((message) => this.#call?.write(message));
    this.#changed();
    return false;
  }

  /** Reads the caller's requests, as long as there is room. */
  async #feed(requests: Requests<Item>): Promise<void> {
    try {
      for await (const request of requests) {
        await this.#take(request);
        await this.#room(0);
        if (this.#left) {
          return;
        }
      }
    } catch (raised) {
      this.#inbox.push({ raised });
    } finally {
      this.#exhausted = true;
      this.#changed();
    }
  }

  #number = 0;

  async #take({ id, items }: Request<Item>): Promise<void> {
    const name = String(this.#number++);
    let message: Uint8Array;
    try {
      message = this.protocol.write(name, items);
    } catch (error) {
      if (!(error instanceof SemserveError)) {
        throw error;
      }
      this.#answerEarly({ id, error });
      return;
    }
    if (message.length > MAX_STREAM_REQUEST_BYTES) {
      await this.protocol.alone(items).then(
        (result) => this.#answerEarly({ id, result }),
        (error: SemserveError) => this.#answerEarly({ id, error }),
      );
      return;
    }
    await this.#room(message.length);
    if (!this.#left) {
      if (this.#flight.empty) {
        this.#waitingSince = Date.now();
      }
      this.#flight.add(name, id, message, message.length);
      this.#call?.write(message);
    }
  }

  #answerEarly(answer: Answer<Result>): void {
    this.#early++;
    this.#inbox.push({ early: answer });
  }

  /** Waits until a request of so many bytes fits, or the loop has been left. */
  async #room(bytes: number): Promise<void> {
    while (!this.#left && !(this.#flight.fits(bytes) && this.#early < this.connection.inFlight)) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Does what a change may allow: reads on, sends again what is due, ends the requests. */
  #changed(): void {
    this.#wake();
    clearTimeout(this.#timer);
    if (this.#left) {
      return;
    }
    if (this.#exhausted && this.#flight.empty && this.#early === 0) {
      this.#call?.end();
      return;
    }
    this.#flight.takeDue(Date.now()).forEach((message) => this.#call?.write(message));
    const due = this.#flight.nextDue();
    if (due !== undefined) {
      this.#timer = setTimeout(() => this.#changed(), due - Date.now());
    }
  }
}
