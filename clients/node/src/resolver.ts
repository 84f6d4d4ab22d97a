// A gRPC resolver of a list of hosts with ports, each of which may have several addresses.

import { lookup } from "node:dns/promises";
import { experimental, Metadata, status as Code } from "@grpc/grpc-js";
import { hostPort, LIST_SCHEME, type HostPort } from "./address.js";

/** Resolves `semserve:HOST:PORT,HOST:PORT` to one endpoint for each address of each host. */
class AddressListResolver implements experimental.Resolver {
  readonly #hosts: readonly HostPort[];
  readonly #listener: experimental.ResolverListener;
  #pending = false;
  #destroyed = false;

  constructor(target: experimental.GrpcUri, listener: experimental.ResolverListener) {
    this.#hosts = target.path.split(",").map((one) => hostPort(one) as HostPort);
    this.#listener = listener;
  }

  static getDefaultAuthority(target: experimental.GrpcUri): string {
    return target.path.split(",")[0] ?? "";
  }

  updateResolution(): void {
    if (!this.#pending) {
      this.#pending = true;
      void this.#resolve();
    }
  }

  destroy(): void {
    this.#destroyed = true;
  }

  async #resolve(): Promise<void> {
    const found = await Promise.allSettled(this.#hosts.map(({ host }) => lookup(host, { all: true })));
    this.#pending = false;
    if (this.#destroyed) {
      return;
    }
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
