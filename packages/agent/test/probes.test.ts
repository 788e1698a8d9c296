import { once } from "node:events";
import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Server } from "node:net";
import { expect, test } from "vitest";
import { nodeProbes } from "../src/index.ts";
import { FakeProbes, probeTransportContract, type ProbesUnderTest } from "../src/testing/index.ts";

const address = "127.0.0.1";

/** Real servers on loopback. */
class Servers implements ProbesUnderTest, AsyncDisposable {
  readonly transport = nodeProbes;
  readonly #servers: Server[] = [];

  readonly serve: ProbesUnderTest["serve"] = async (status) => {
    const paths: string[] = [];
    const server = createServer((request, response) => {
      paths.push(request.url ?? "");
      response.writeHead(request.url === "/moved" ? 302 : status, { location: "/elsewhere" }).end();
    });
    return { address, port: await this.#listen(server), paths };
  };

  readonly silent: ProbesUnderTest["silent"] = async () => {
    const server = createTcpServer(() => undefined);
    const port = await this.#listen(server);
    return { address, port, connected: once(server, "connection").then(() => undefined) };
  };

  readonly nobody: ProbesUnderTest["nobody"] = async () => {
    const server = createTcpServer();
    const port = await this.#listen(server);
    await new Promise((resolve) => server.close(resolve));
    return { address, port };
  };

  async #listen(server: Server): Promise<number> {
    server.listen(0, address);
    this.#servers.push(server);
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  }

  /** Resolves once the last connection has ended: a probe leaves none. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

test.each(probeTransportContract)("the node's own probes: $title", async ({ run }) => {
  await using servers = new Servers();
  await run(servers);
});

/** Scripted servers. */
function played(): ProbesUnderTest {
  const transport = new FakeProbes();
  const connected = Promise.withResolvers<void>();
  return {
    transport,
    async serve(status) {
      const paths: string[] = [];
      transport.server = (_port, path) => {
        if (path !== "") paths.push(path);
        return path === "/moved" ? 302 : status;
      };
      return { address, port: 80, paths };
    },
    async silent() {
      transport.server = () => {
        connected.resolve();
        return "silent";
      };
      return { address, port: 80, connected: connected.promise };
    },
    async nobody() {
      transport.server = () => undefined;
      return { address, port: 80 };
    },
  };
}

test.each(probeTransportContract)("scripted probes: $title", ({ run }) => run(played()));

test("a contract case fails for a wrong transport", async () => {
  const [first] = probeTransportContract;
  await using servers = new Servers();
  const wrong = { http: () => Promise.resolve(200), tcp: () => Promise.resolve() };
  await expect(
    first?.run({ transport: wrong, serve: servers.serve, silent: servers.silent, nobody: servers.nobody }),
  ).rejects.toThrow("200 is not 204");
});
