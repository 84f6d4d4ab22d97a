import { deepStrictEqual, strictEqual, throws } from "node:assert";
import { test } from "node:test";
import { hostPort, isLocal, target } from "../src/address.js";

test("one address is a target as it is", () => {
  const good = ["localhost:50051", "[::1]:50051", "unix:/run/semserve", "dns:///a.example:443", "ipv4:10.0.0.1:1,10.0.0.2:1"];
  deepStrictEqual(good.map((address) => target(` ${address}\n`)), good);
});

test("several addresses are one target, as a list or with commas", () => {
  strictEqual("semserve:a.example:1,[::1]:2", target(["a.example:1", "[::1]:2"]));
  strictEqual("semserve:a.example:1,b.example:2", target("a.example:1, b.example:2"));
});

test("an address that gRPC would take for another is refused with what to write", () => {
  const bad: [string | string[], RegExp][] = [
    ["", /HOST:PORT/],
    [[], /no address/],
    ["localhost", /HOST:PORT/],
    ["localhost:", /HOST:PORT/],
    [":50051", /HOST:PORT/],
    ["localhost:0", /1 to 65535/],
    ["localhost:65536", /1 to 65535/],
    ["::1:50051", /\[IPV6\]:PORT/],
    ["[localhost]:50051", /HOST:PORT/],
    ["HTTPS://a.example:443/", /write a.example:443/],
    ["a b:1", /space/],
    ["a.example:1,b.example", /HOST:PORT/],
    [["a.example:1", "unix:/run/x"], /stands in a list/],
    [["a.example:1", "dns:///b.example:1"], /stands in a list/],
  ];
  for (const [address, message] of bad) {
    throws(() => target(address), (error) => error instanceof RangeError && message.test(error.message), String(address));
  }
});

test("this machine's addresses are told from others", () => {
  const local = ["localhost:1", "127.0.0.9:1", "[::1]:1", "unix:/x", target("localhost:1,127.0.0.1:2"), "dns:///localhost:1"];
  const other = ["a.example:1", "localhost.example:1", target("localhost:1,a.example:2"), "10.127.0.1:1"];
  deepStrictEqual([...local, ...other].map(isLocal), [...local.map(() => true), ...other.map(() => false)]);
});

test("an IPv6 address stands in brackets, with its zone", () => {
  deepStrictEqual({ host: "fe80::1%eth0", port: 1 }, hostPort("[fe80::1%eth0]:1"));
});
