// Embeds two sentences, classifies a pair, streams ten requests of which one is bad, and prints
// `Node ok DIMENSIONS COSINE LABEL`.
//
//   npm run sample -- [HOST:PORT]

import { Client, cosine, SemserveError, type Request } from "../src/index.js";

const [address = process.env["SEMSERVE_ADDRESS"] ?? "127.0.0.1:50051"] = process.argv.slice(2);

async function main(client: Client): Promise<void> {
  const { results } = await client.embed(["The cat sits on the mat.", "A cat is sitting on a mat."]);
  const [left, right] = results.map(({ vector }) => vector as Float32Array);
  const pair = { premise: "It is raining", hypothesis: "It is sunny" };
  const [labelled] = (await client.classify([pair])).results;

  // The server refuses an empty text, and the stream goes on.
  for await (const { id, result, error } of client.streamEmbed(requests())) {
    const outcome = error ? `${error.code} ${error.violations[0]?.field}` : `${result.usage.tokenCount} tokens`;
    console.error(`answer ${id}: ${outcome}`);
  }
  console.log(`Node ok ${left?.length} ${cosine(left!, right!).toFixed(4)} ${labelled?.label}`);
}

function* requests(): Generator<Request<string>> {
  for (let number = 0; number < 10; number++) {
    yield { id: String(number), items: [number === 6 ? "" : `This is request ${number}.`] };
  }
}

const client = new Client(address);
try {
  await main(client);
} catch (error) {
  console.error(error instanceof SemserveError ? `semserve: ${error.message}` : error);
  process.exitCode = 1;
} finally {
  client.close();
}
