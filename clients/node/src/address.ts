// What an address may be, and how several of them become one gRPC target.

import { isIP } from "node:net";

const SCHEMES = ["http://", "https://", "grpc://", "grpcs://", "tcp://"];
const LOCAL = /^(localhost|ip6-localhost|.*\.localhost)\.?$/i;

/** A host and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** The scheme under which `addressResolver` resolves a list of hosts with ports. */
export const LIST_SCHEME = "semserve";

/**
 * Gives the gRPC target of one address or of several.
 *
 * @throws RangeError an address that gRPC could not resolve, or for which it would use port 443.
 */
export function target(addresses: string | readonly string[]): string {
  const list = (typeof addresses === "string" ? split(addresses) : addresses).map((one) => one.trim());
  if (list.length === 0) {
    throw new RangeError("there is no address: write HOST:PORT, such as localhost:50051");
  }
  list.forEach(checkAddress);
  if (list.length === 1) {
    return list[0] as string;
  }
  for (const one of list) {
    if (endpoint(one) !== one) {
      throw new RangeError(`address ${JSON.stringify(one)} stands in a list: write HOST:PORT`);
    }
  }
  return `${LIST_SCHEME}:${list.join(",")}`;
}

/** Whether a target is this machine's: loopback, or a unix socket. */
export function isLocal(target: string): boolean {
  if (target.startsWith("unix:") || target.startsWith("unix-abstract:")) {
    return true;
  }
  const listed = target.startsWith(`${LIST_SCHEME}:`) ? target.slice(LIST_SCHEME.length + 1).split(",") : [target];
  return listed.every((one) => {
    const host = hostPort(endpoint(one) ?? "")?.host ?? "";
    return LOCAL.test(host) || /^127\./.test(host) || ["::1", "::", "0.0.0.0"].includes(host);
  });
}

/** Splits HOST:PORT or [IPV6]:PORT; undefined where it is something else. */
export function hostPort(name: string): HostPort | undefined {
  const found = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(name);
  const port = Number(found?.[3]);
  if (!found || port < 1 || port > 65_535 || (found[1] !== undefined && isIP(found[1].split("%")[0] ?? "") !== 6)) {
    return undefined;
  }
  return { host: found[1] ?? found[2] ?? "", port };
}

/** Splits a list at its commas, except those that belong to a target of gRPC's own. */
function split(addresses: string): string[] {
  return /^\s*(ipv4|ipv6|unix|unix-abstract):/.test(addresses) ? [addresses] : addresses.split(",");
}

function checkAddress(address: string): void {
  const said = `address ${JSON.stringify(address)}`;
  if (/[\s\x00-\x1f\x7f]/.test(address)) {
    throw new RangeError(`${said} has a space or a control character in it`);
  }
  const scheme = SCHEMES.find((one) => address.toLowerCase().startsWith(one));
  if (scheme) {
    const plain = address.slice(scheme.length).replace(/\/+$/, "");
    throw new RangeError(`${said} has a scheme: write ${plain}; TLS is asked for with the option tls`);
  }
  const name = endpoint(address);
  if (name !== undefined && !hostPort(name)) {
    const ipv6 = name.split(":").length > 2 && !name.startsWith("[");
    throw new RangeError(
      ipv6
        ? `${said} has several colons: write an IPv6 address as [IPV6]:PORT`
        : `${said} is not HOST:PORT with a port from 1 to 65535, such as localhost:50051`,
    );
  }
}

/** The HOST:PORT of an address; undefined where it is a path, or what another resolver knows. */
function endpoint(address: string): string | undefined {
  if (address.startsWith("dns:")) {
    const rest = address.slice(4);
    return rest.startsWith("//") ? rest.slice(2).split("/").slice(1).join("/") : rest;
  }
  const scheme = address.split(":", 1)[0] ?? "";
  const other = address.includes("://") || ["unix", "unix-abstract", "ipv4", "ipv6"].includes(scheme);
  return other && address.includes(":") ? undefined : address;
}
