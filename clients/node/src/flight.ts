// The requests of one stream that have no answer yet. This is the policy of a stream: it has no
// clock and does no input or output; stream.ts brings those.

import { SemserveError } from "./errors.js";
import { retryAfter } from "./retry.js";

/** Most requests of one stream that have no answer yet, unless the client says otherwise. */
export const DEFAULT_IN_FLIGHT = 8;

/** Most bytes of the requests of one stream that have no answer yet. One request may be larger. */
export const MAX_FLIGHT_BYTES = 16 << 20;

/** A request of a stream that has no answer yet. */
export interface Entry<Sent> {
  /** The caller's own ID. */
  readonly id: string;
  readonly message: Sent;
  readonly bytes: number;
  attempts: number;
  /** When it is sent again, in milliseconds of the caller's clock; undefined while a server has it. */
  due: number | undefined;
}

/**
 * Holds the requests of one stream that a server has, and those that will be sent again. Together
 * they never pass the bound, so that a server that sheds load slows its clients down instead of
 * growing their memory.
 */
export class Flight<Sent> {
  readonly #entries = new Map<string, Entry<Sent>>();
  readonly #bound: number;
  #bytes = 0;

  constructor(bound: number) {
    this.#bound = bound;
  }

  get empty(): boolean {
    return this.#entries.size === 0;
  }

  /** Whether a request of so many bytes may be added. */
  fits(bytes: number): boolean {
    return this.empty || (this.#entries.size < this.#bound && this.#bytes + bytes <= MAX_FLIGHT_BYTES);
  }

  /** Adds a request that is sent now under a name of the stream's own. */
  add(name: string, id: string, message: Sent, bytes: number): void {
    this.#entries.set(name, { id, message, bytes, attempts: 1, due: undefined });
    this.#bytes += bytes;
  }

  /**
   * Takes an answer.
   *
   * @returns the caller's ID of the request; undefined where it is sent again instead.
   * @throws SemserveError INTERNAL: no server has a request of that name.
   */
  settle(name: string, error: SemserveError | undefined, now: number): string | undefined {
    const entry = this.#entries.get(name);
    if (!entry || entry.due !== undefined) {
      throw new SemserveError("INTERNAL", `the server answered ${JSON.stringify(name)}, which was not asked`);
    }
    const wait = error && retryAfter(error, entry.attempts, true);
    if (wait !== undefined) {
      entry.due = now + wait;
      return undefined;
    }
    this.#entries.delete(name);
    this.#bytes -= entry.bytes;
    return entry.id;
  }

  /** Takes the messages that are due to be sent again. */
  takeDue(now: number): Sent[] {
    const due = [...this.#entries.values()].filter((entry) => entry.due !== undefined && entry.due <= now);
    for (const entry of due) {
      entry.due = undefined;
      entry.attempts++;
    }
    return due.map(({ message }) => message);
  }

  /** Gives when the next message is due to be sent again; undefined where none waits. */
  nextDue(): number | undefined {
    const dues = [...this.#entries.values()].flatMap(({ due }) => (due === undefined ? [] : [due]));
    return dues.length ? Math.min(...dues) : undefined;
  }

  /** Gives the messages that a server had when its stream broke, to be sent on another stream. */
  sent(): Sent[] {
    return [...this.#entries.values()].filter(({ due }) => due === undefined).map(({ message }) => message);
  }
}
