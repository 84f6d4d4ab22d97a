import { deepStrictEqual, ok, strictEqual, throws } from "node:assert";
import { test } from "node:test";
import { SemserveError } from "../src/index.js";
import { Flight, MAX_FLIGHT_BYTES } from "../src/flight.js";
import { retryAfter } from "../src/retry.js";

const full = new SemserveError("RESOURCE_EXHAUSTED", "full", { retryAfterMs: 50 });
const middle = () => 0.5;

test("requests without an answer are bounded in number and bytes, but one always fits", () => {
  const flight = new Flight<string>(2);
  ok(flight.fits(MAX_FLIGHT_BYTES + 1));
  flight.add("0", "a", "A", 10);
  ok(flight.fits(MAX_FLIGHT_BYTES - 10));
  ok(!flight.fits(MAX_FLIGHT_BYTES - 9));
  flight.add("1", "b", "B", 10);
  ok(!flight.fits(0));
  strictEqual("a", flight.settle("0", undefined, 0));
  ok(flight.fits(0));
});

test("what was shed is sent again when it is due, four times in all", () => {
  const flight = new Flight<string>(2);
  flight.add("0", "a", "A", 1);
  for (let attempt = 1; attempt < 4; attempt++) {
    const now = attempt * 1000;
    strictEqual(undefined, flight.settle("0", full, now));
    strictEqual(now + 50, flight.nextDue());
    deepStrictEqual([], flight.takeDue(now + 49));
    deepStrictEqual(["A"], flight.takeDue(now + 50));
    strictEqual(undefined, flight.nextDue());
  }
  strictEqual("a", flight.settle("0", full, 9000));
  ok(flight.empty);
});

test("another stream is given what the server of a broken one had, and nothing that waits", () => {
  const flight = new Flight<string>(3);
  flight.add("0", "a", "A", 1);
  flight.add("1", "b", "B", 1);
  flight.settle("0", full, 0);
  deepStrictEqual(["B"], flight.sent());
});

test("an answer to what no server has is the server's fault", () => {
  const flight = new Flight<string>(3);
  flight.add("0", "a", "A", 1);
  flight.settle("0", full, 0);
  for (const name of ["0", "other"]) {
    throws(
      () => flight.settle(name, undefined, 0),
      (error) => error instanceof SemserveError && error.code === "INTERNAL",
    );
  }
});

test("the wait before another attempt doubles, unless the server says how long", () => {
  const shed = new SemserveError("RESOURCE_EXHAUSTED", "full");
  deepStrictEqual([100, 200, 400, undefined], [1, 2, 3, 4].map((attempt) => retryAfter(shed, attempt, false, middle)));
  strictEqual(50, retryAfter(full, 1, false, middle));
  strictEqual(80, retryAfter(shed, 1, false, () => 0));
});

test("only an overload and a server that is away are tried again", () => {
  const away = new SemserveError("UNAVAILABLE", "stopping");
  strictEqual(undefined, retryAfter(away, 1, false, middle));
  strictEqual(100, retryAfter(away, 1, true, middle));
  strictEqual(undefined, retryAfter(new SemserveError("INTERNAL", "oh"), 1, true, middle));
});
