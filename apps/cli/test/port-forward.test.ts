import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { ApiError, type PortForwardRequest, type PortForwardResponse } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { expect, onTestFinished, test } from "vitest";
import { until } from "@warren/std/testing";
import { listenForTask, parsePorts } from "../src/port-forward.ts";

test.for([
  ["80", { local: 80, remote: 80 }],
  ["8080:80", { local: 8080, remote: 80 }],
  [":80", { local: 0, remote: 80 }],
] as const)("'%s' is %o", ([word, ports]) => {
  expect(parsePorts([word])).toEqual([ports]);
});

test.for(["", "http", "80:", "0", "8080:0", "70000", "70000:80", "1:2:3", "-1"])("'%s' is no port", (word) => {
  expect(() => parsePorts([word])).toThrow(/is not \[LOCAL:\]PORT/);
});

/** A client whose tasks answer connections so. */
async function forwarded(
  serve: (requests: AsyncIterable<PortForwardRequest>) => AsyncIterable<PortForwardResponse>,
): Promise<{ readonly port: number; readonly warnings: string[] }> {
  const warnings: string[] = [];
  const client = { tasks: { portForward: serve } } as unknown as ApiClient;
  const listening = await listenForTask(client, "t1", { local: 0, remote: 80 }, "127.0.0.1", (warning) =>
    warnings.push(warning),
  );
  onTestFinished(() => listening.close());
  const [, port] = /^127\.0\.0\.1:(\d+) -> 80$/.exec(listening.text) ?? [];
  return { port: Number(port), warnings };
}

test("a connection is carried both ways, and each side's end with it", async () => {
  const cases: (string | undefined)[] = [];
  const { port } = await forwarded(async function* (requests) {
    yield { message: { $case: "connected", value: true } };
    for await (const { message } of requests) {
      cases.push(message?.$case);
      if (message?.$case === "open") expect(message.value).toEqual({ ref: "t1", port: 80 });
      if (message?.$case === "data") yield { message: { $case: "data", value: message.value } };
    }
  });
  const socket = connect({ port, host: "127.0.0.1" });
  socket.end("x".repeat(200_000));
  expect(await text(socket)).toBe("x".repeat(200_000));
  expect([cases[0], cases.at(-1)]).toEqual(["open", "dataEnd"]);
});

test("a connection that is refused there is ended here, said once, and the next is tried", async () => {
  const { port, warnings } = await forwarded(() => {
    throw new ApiError({ code: "API_PRECONDITION", violations: [] }, "nothing listens on port 80 of the task");
  });
  for (let i = 0; i < 2; i += 1) {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => undefined);
    await once(socket, "close");
  }
  await until("both are said", () => warnings.length === 2);
  expect(warnings[0]).toBe("a connection to port 80 failed: nothing listens on port 80 of the task");
});
