// Generates src/gen from the schema in proto/, with the compiler and the generator that
// package-lock.json pins. Run it as `npm run generate`; `npm run build` does too.
//
// google/rpc and grpc.health come from the npm packages that carry them. The compiler takes one
// folder, so that all of them are brought together below node_modules/.cache first.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const schema = here("node_modules/.cache/proto");
const output = here("src/gen");

rmSync(schema, { recursive: true, force: true });
mkdirSync(schema, { recursive: true });
cpSync(here("../../proto/semserve"), `${schema}/semserve`, { recursive: true });
for (const name of ["status", "error_details"]) {
  cpSync(here(`node_modules/google-proto-files/google/rpc/${name}.proto`), `${schema}/google/rpc/${name}.proto`);
}
cpSync(here("node_modules/grpc-health-check/proto/health/v1/health.proto"), `${schema}/grpc/health/v1/health.proto`);
writeFileSync(
  `${schema}/buf.gen.yaml`,
  JSON.stringify({
    version: "v2",
    clean: true,
    plugins: [{ local: here("node_modules/.bin/protoc-gen-es"), out: output, opt: ["target=ts", "import_extension=js"] }],
  }),
);
writeFileSync(`${schema}/buf.yaml`, JSON.stringify({ version: "v2" }));
execFileSync(here("node_modules/.bin/buf"), ["generate"], { cwd: schema, stdio: "inherit" });
