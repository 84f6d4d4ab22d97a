// Streams many texts as fast as the client can, in little memory.

import { readFileSync } from "node:fs";
import { Client, type Request } from "../src/index.js";

const TEXTS_A_REQUEST = 32;

export async function bench(address: string, count: number): Promise<void> {
  const client = new Client(address);
  const started = performance.now();
  let answered = 0;
  for await (const { result, error } of client.streamEmbed(requests(count))) {
    if (error) {
      throw error;
    }
    answered += result.results.filter(({ vector }) => vector).length;
  }
  const rate = (answered / (performance.now() - started)) * 1000;
  client.close();
  const peak = Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) >> 10;
  console.log(`Node ${answered} texts ${rate.toFixed(0)} texts/s ${peak} MB`);
}

function* requests(count: number): Generator<Request<string>> {
  for (let start = 0; start < count; start += TEXTS_A_REQUEST) {
    const length = Math.min(TEXTS_A_REQUEST, count - start);
    yield { id: String(start), items: Array.from({ length }, (_, place) => `text ${start + place}`) };
  }
}
