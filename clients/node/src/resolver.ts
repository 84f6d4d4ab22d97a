// A gRPC resolver of a list of hosts with ports, each of which may have several addresses.

import { lookup } from "node:dns/promises";
import { experimental, Metadata, status as Code } from "@grpc/grpc-js";
import { hostPort, LIST_SCHEME, type HostPort } from "./address.js";

/** Least milliseconds between two resolutions; the balancer asks for one at every lost connection. */
const MIN_INTERVAL_MS = 10_000;

/** Resolves `semserve:HOST:PORT,HOST:PORT` to one endpoint for each address of each host. */
class AddressListResolver implements experimental.Resolver {
  readonly #hosts: readonly HostPort[];
  readonly #listener: experimental.ResolverListener;
  #timer: NodeJS.Timeout | undefined;
  #nextAt = 0;

  constructor(target: experimental.GrpcUri, listener: experimental.ResolverListener) {
    this.#hosts = target.path.split(",").map((one) => hostPort(one) as HostPort);
    this.#listener = listener;
  }

  static getDefaultAuthority(target: experimental.GrpcUri): string {
    return target.path.split(",")[0] ?? "";
  }

  updateResolution(): void {
    this.#timer ??= setTimeout(() => void this.#resolve(), Math.max(0, this.#nextAt - Date.now())).unref();
  }

  destroy(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #resolve(): Promise<void> {
    const timer = this.#timer;
    const found = await Promise.allSettled(this.#hosts.map(({ host }) => lookup(host, { all: true })));
    if (this.#timer !== timer) {
      return; // destroyed meanwhile
    }
    this.#timer = undefined;
    this.#nextAt = Date.now() + MIN_INTERVAL_MS;
    const endpoints = found.flatMap((result, place) => {
      const port = this.#hosts[place]?.port ?? 0;
      const addresses = result.status === "fulfilled" ? result.value : [];
      return addresses.map(({ address }) => ({ addresses: [{ host: address, port }] }));
    });
    if (endpoints.length > 0) {
      this.#listener(experimental.statusOrFromValue(endpoints), {}, null, "");
      return;
    }
    const names = this.#hosts.map(({ host }) => host).join(", ");
    const error = { code: Code.UNAVAILABLE, details: `name resolution failed for ${names}`, metadata: new Metadata() };
    this.#listener(experimental.statusOrFromError(error), {}, null, "");
  }
}

experimental.registerResolver(LIST_SCHEME, AddressListResolver);
