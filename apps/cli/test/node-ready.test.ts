import { Change, Node, NodeStatus_State, type WatchResponse } from "@warren/api";
import { afterEach, expect, test, vi } from "vitest";
import { nodeReady } from "../src/commands/cluster.ts";

const worker = { kind: "unit", unit: "warren-worker.service" } as const;
const { READY, UNKNOWN } = NodeStatus_State;

/** A manager whose watch sends these states of a node, and then nothing. */
function manager(
  ...states: readonly { readonly life: number; readonly state: NodeStatus_State; readonly message?: string }[]
) {
  return {
    events: {
      async *watch(_: unknown, { signal }: { readonly signal?: AbortSignal } = {}): AsyncGenerator<WatchResponse> {
        for (const { life, state, message = "" } of states) {
          const value = Node.fromPartial({ description: { hostname: "edge-1", life }, status: { state, message } });
          const change = Change.fromPartial({ object: { $case: "node", value } });
          yield { message: { $case: "change", value: change } };
        }
        signal?.throwIfAborted();
        await new Promise((_, reject) =>
          signal?.addEventListener("abort", () => reject(signal.reason), { once: true }),
        );
      },
    },
  };
}

const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
afterEach(() => said.mockClear());
const lines = (): string[] => said.mock.calls.map(([text]) => String(text));

test("a worker of before is not waited for, and one that is not ready says why, once", async () => {
  const client = manager(
    { life: 1, state: READY },
    { life: 2, state: UNKNOWN, message: "it has applied another history" },
    { life: 2, state: UNKNOWN, message: "it has applied another history" },
    { life: 2, state: READY },
  );
  await nodeReady(client, worker, new Set([1]), new AbortController().signal);
  expect(lines()).toEqual(["node edge-1 is not ready: it has applied another history\n", "node edge-1 is ready\n"]);
});

test("the reason that a node had last is the reason of the command", async () => {
  const client = manager({ life: 2, state: UNKNOWN, message: "it has applied another history" });
  const over = new AbortController();
  const waiting = nodeReady(client, worker, new Set(), over.signal);
  await vi.waitUntil(() => lines().length === 1);
  over.abort();
  await expect(waiting).rejects.toThrow(
    "node edge-1 is not ready: it has applied another history; see journalctl -u warren-worker.service",
  );
  await expect(nodeReady(manager(), worker, new Set(), over.signal)).rejects.toThrow("the worker has not registered");
});
