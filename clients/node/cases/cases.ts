// Runs the table of cases that every client passes; tests/clients/CASES.md describes it.
//
//   node dist/cases/cases.js CASES.JSON NAME=HOST:PORT …
//   node dist/cases/cases.js bench HOST:PORT TEXTS

import { readFileSync } from "node:fs";
import { bench } from "./bench.js";
import { run, type Case } from "./runner.js";

const [first = "", ...rest] = process.argv.slice(2);
if (first === "bench") {
  const [address = "", count = ""] = rest;
  await bench(address, Number(count));
} else {
  const table = JSON.parse(readFileSync(first, "utf8")) as { tolerance: number; cases: Case[] };
  const servers = Object.fromEntries(rest.map((one) => one.split("=", 2))) as Record<string, string>;
  for (const one of table.cases) {
    try {
      await run(one, servers, table.tolerance);
      console.log(`ok ${one.name}`);
    } catch (failed) {
      process.exitCode = 1;
      console.log(`FAILED ${one.name}: ${String(failed).replaceAll("\n", " ")}`);
    }
  }
}
process.stdin.destroy();
