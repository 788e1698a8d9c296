import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { nodeProbes } from "../src/index.ts";

const never = new AbortController().signal;

test("an HTTP probe gives the status, does not follow redirects and leaves no connection", async () => {
  const paths: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    paths.push(request.url);
    response.writeHead(request.url === "/moved" ? 302 : 204, { location: "/elsewhere" }).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  expect(await nodeProbes.http({ address: "127.0.0.1", port, path: "/ready?x=1" }, never)).toBe(204);
  expect(await nodeProbes.http({ address: "127.0.0.1", port, path: "/moved" }, never)).toBe(302);
  expect(paths).toEqual(["/ready?x=1", "/moved"]);
  // Resolves once the last connection has ended.
  await new Promise((resolve) => server.close(resolve));
});

test("probes of a port where nobody listens fail", async () => {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await expect(nodeProbes.tcp({ address: "127.0.0.1", port }, never)).resolves.toBeUndefined();
  await new Promise((resolve) => server.close(resolve));
  await expect(nodeProbes.tcp({ address: "127.0.0.1", port }, never)).rejects.toThrow("ECONNREFUSED");
  await expect(nodeProbes.http({ address: "127.0.0.1", port, path: "/" }, never)).rejects.toThrow("ECONNREFUSED");
});

test("probes end with their signal, whoever does not answer", async () => {
  const server = createTcpServer(() => undefined).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const late = new AbortController();
  const asked = nodeProbes.http({ address: "127.0.0.1", port, path: "/" }, late.signal);
  await once(server, "connection");
  late.abort(new Error("too late"));
  await expect(asked).rejects.toThrow();
  await expect(nodeProbes.tcp({ address: "127.0.0.1", port }, late.signal)).rejects.toThrow("too late");
  await new Promise((resolve) => server.close(resolve));
});
