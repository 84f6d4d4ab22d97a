// A gRPC server in the test's own process, over the loopback, that does what a test says.

import { fromBinary, toBinary, type DescMethod, type DescService, type MessageShape } from "@bufbuild/protobuf";
import { Metadata, Server, ServerCredentials, status, type UntypedHandleCall } from "@grpc/grpc-js";
import { Client, type ClientOptions } from "../src/index.js";

export type Handlers = Record<string, UntypedHandleCall>;

/** Serves a service with some handlers, calls `use` with a client of it, and ends both. */
export async function serving(
  service: DescService,
  handlers: Handlers,
  use: (client: Client, address: string) => Promise<void>,
  options: ClientOptions = {},
): Promise<void> {
  const server = new Server();
  const methods = Object.fromEntries(service.methods.map((method) => [method.localName, definition(method)]));
  server.addService(methods, handlers);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  const address = `127.0.0.1:${port}`;
  const client = new Client(address, options);
  try {
    await use(client, address);
  } finally {
    client.close();
    server.forceShutdown();
  }
}

/** An error of a handler, with a trailer or not. */
export function refusal(code: keyof typeof status, details: string, trailers: Record<string, string> = {}): object {
  const metadata = new Metadata();
  Object.entries(trailers).forEach(([name, value]) => metadata.set(name, value));
  return { code: status[code], details, metadata };
}

function definition(method: DescMethod) {
  const read = (desc: DescMethod["input"]) => (bytes: Buffer) => fromBinary(desc, bytes);
  const write = (desc: DescMethod["input"]) => (message: MessageShape<typeof desc>) => Buffer.from(toBinary(desc, message));
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind !== "unary" && method.methodKind !== "server_streaming",
    responseStream: method.methodKind !== "unary" && method.methodKind !== "client_streaming",
    requestDeserialize: read(method.input),
    responseSerialize: write(method.output),
    requestSerialize: write(method.input),
    responseDeserialize: read(method.output),
  };
}
