// How the client makes calls: deadlines, retries, keys, TLS and typed errors, in one place.

import { setTimeout as delay } from "node:timers/promises";
import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  ChannelCredentials,
  Client as GrpcClient,
  credentials,
  Metadata,
  type ChannelOptions,
  type ClientDuplexStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { isLocal, target } from "./address.js";
import { fromCall, pushback, SemserveError } from "./errors.js";
import { DEFAULT_IN_FLIGHT } from "./flight.js";
import "./resolver.js";
import { retryAfter, SERVICE_CONFIG } from "./retry.js";
import { checkStrings } from "./wellformed.js";

/** Milliseconds that a call may take where neither it nor its client says otherwise. */
export const DEFAULT_TIMEOUT_MS = 30_000;

// The answer to a large matrix is longer than the 4 MiB that gRPC allows by itself.
const MAX_ANSWER_BYTES = 64 << 20;

/** The PEM contents that TLS needs beside, or in place of, the authorities of Node.js. */
export interface TlsOptions {
  /** Certificates of the authorities to trust. */
  readonly ca?: string | Uint8Array;
  /** The client's own certificate and its key, for a server that asks for one. */
  readonly certificate?: string | Uint8Array;
  readonly key?: string | Uint8Array;
}

/** How a client reaches its server. */
export interface ClientOptions {
  /** The key of a server that wants one; white space around it is dropped. */
  readonly key?: string;
  /** Encrypts: `true`, or with which certificates. Without it the network can read texts and key. */
  readonly tls?: boolean | TlsOptions | ChannelCredentials;
  /** Milliseconds that a call may take, and a stream may wait for an answer; 0: without a bound. */
  readonly timeoutMs?: number;
  /** Most requests of one stream that have no answer yet, from 1. */
  readonly inFlight?: number;
  /** Further gRPC channel options; they win over the client's own. */
  readonly channelOptions?: ChannelOptions;
}

/** What any call may say. */
export interface CallOptions {
  /** In place of the client's own. */
  readonly timeoutMs?: number;
  /** Cancels the call. */
  readonly signal?: AbortSignal;
  /** Sent with the call. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A bidirectional stream of requests as bytes. */
export type Duplex<Received> = ClientDuplexStream<Uint8Array, Received>;

/** A connection to the servers of one or more addresses. */
export class Connection {
  readonly inFlight: number;
  readonly #client: GrpcClient;
  readonly #timeoutMs: number;
  readonly #key: string;
  readonly #calls = new Set<{ cancel(): void }>();
  #closed = false;

  constructor(addresses: string | readonly string[], options: ClientOptions) {
    const address = target(addresses);
    this.inFlight = atLeast(1, "inFlight", options.inFlight ?? DEFAULT_IN_FLIGHT);
    this.#timeoutMs = atLeast(0, "timeoutMs", options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    this.#key = checkKey(options.key ?? "");
    this.#client = new GrpcClient(address, transport(options.tls), {
      "grpc.service_config": SERVICE_CONFIG,
      "grpc.service_config_disable_resolution": 1,
      "grpc.max_receive_message_length": MAX_ANSWER_BYTES,
      ...(isLocal(address) ? { "grpc.enable_http_proxy": 0 } : {}),
      ...options.channelOptions,
    });
  }

  /** Ends every call in flight, and the connections. */
  close(): void {
    this.#closed = true;
    this.#calls.forEach((call) => call.cancel());
    this.#client.close();
  }

  /** Milliseconds that a call may take; Infinity where there is no bound. */
  timeoutMs(options: CallOptions): number {
    return atLeast(0, "timeoutMs", options.timeoutMs ?? this.#timeoutMs) || Infinity;
  }

  /**
   * Makes a unary call, and makes it again as `retryAfter` says, until its deadline.
   *
   * @throws SemserveError the call failed.
   */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
    options: CallOptions,
  ): Promise<MessageShape<O>> {
    const request = create(method.input, init);
    checkStrings(request);
    const message = toBinary(method.input, request);
    const deadline = Date.now() + this.timeoutMs(options);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(method, message, deadline, options);
      } catch (failed) {
        const wait = this.wait(failed, attempt, false);
        if (wait === undefined || Date.now() + wait >= deadline) {
          throw failed;
        }
        await delay(wait, undefined, options.signal && { signal: options.signal }).catch(() => {
          throw cancelled(options.signal);
        });
      }
    }
  }

  /** Opens a stream; its messages are bytes, so that one that is sent again is written once. */
  open<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    options: CallOptions,
  ): Duplex<MessageShape<O>> {
    this.#check(options);
    const call = this.#client.makeBidiStreamRequest<Uint8Array, MessageShape<O>>(
      path(method),
      buffer,
      (bytes) => fromBinary(method.output, bytes),
      this.#metadata(options),
    );
    this.#calls.add(call);
    call.on("status", () => this.#calls.delete(call));
    return call;
  }

  /** Gives the milliseconds until a call that failed is made again; undefined where it is not. */
  wait(failed: unknown, attempt: number, unavailable: boolean): number | undefined {
    if (!(failed instanceof SemserveError) || this.#closed) {
      return undefined;
    }
    const wait = retryAfter(failed, attempt, unavailable);
    const asked = pushback((failed.cause as Partial<ServiceError> | undefined)?.metadata);
    return wait === undefined || asked === undefined ? wait : Number.isNaN(asked) ? undefined : asked;
  }

  #once<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    message: Uint8Array,
    deadline: number,
    options: CallOptions,
  ): Promise<MessageShape<O>> {
    this.#check(options);
    const { signal } = options;
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest<Uint8Array, MessageShape<O>>(
        path(method),
        buffer,
        (bytes) => fromBinary(method.output, bytes),
        message,
        this.#metadata(options),
        deadline === Infinity ? {} : { deadline },
        (failed, answer) => {
          this.#calls.delete(call);
          signal?.removeEventListener("abort", cancel);
          if (failed) {
            reject(signal?.aborted ? cancelled(signal) : this.#closed ? closed() : fromCall(failed, failed));
          } else {
            resolve(answer as MessageShape<O>);
          }
        },
      );
      const cancel = () => call.cancel();
      this.#calls.add(call);
      signal?.addEventListener("abort", cancel, { once: true });
    });
  }

  #check(options: CallOptions): void {
    if (this.#closed) {
      throw closed();
    }
    if (options.signal?.aborted) {
      throw cancelled(options.signal);
    }
  }

  #metadata(options: CallOptions): Metadata {
    const metadata = new Metadata();
    if (this.#key) {
      metadata.set("authorization", `Bearer ${this.#key}`);
    }
    for (const [name, value] of Object.entries(options.metadata ?? {})) {
      metadata.set(name, value);
    }
    return metadata;
  }
}

/** Makes the error of a call that its caller cancelled. */
export function cancelled(signal: AbortSignal | undefined): SemserveError {
  return new SemserveError("CANCELLED", "the caller cancelled the call", { cause: signal?.reason });
}

function closed(): SemserveError {
  return new SemserveError("CANCELLED", "the client is closed: make another");
}

function path(method: { parent: { typeName: string }; name: string }): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function transport(tls: ClientOptions["tls"]): ChannelCredentials {
  if (!tls) {
    return credentials.createInsecure();
  }
  if (tls instanceof ChannelCredentials) {
    return tls;
  }
  const { ca, certificate, key }: TlsOptions = tls === true ? {} : tls;
  const pem = (content: string | Uint8Array | undefined) => (content === undefined ? null : Buffer.from(content));
  return credentials.createSsl(pem(ca), pem(key), pem(certificate));
}

function checkKey(key: string): string {
  const trimmed = key.trim();
  if (/[^\x21-\x7e]/.test(trimmed)) {
    throw new RangeError("the key has a character that is not printable ASCII, or a space");
  }
  return trimmed;
}

function atLeast(least: number, name: string, value: number): number {
  if (!(value >= least)) {
    throw new RangeError(`${name} is ${value}, not ${least} or more`);
  }
  return value;
}
