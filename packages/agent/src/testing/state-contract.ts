import type { AgentState } from "../seams.ts";
import type { ContractCase } from "@warren/std/testing";
import { check, equal } from "./contract.ts";

/** Storage that outlives the states that are opened on it. */
export interface StateUnderTest {
  /** Opens the state; the case closes it before it opens it again. */
  readonly open: () => Promise<AgentState>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const texts = (entries: ReadonlyMap<string, Uint8Array>): Record<string, string> =>
  Object.fromEntries([...entries].map(([key, value]) => [key, new TextDecoder().decode(value)]));

/** What every `AgentState` must do. Each case needs new storage. */
export const agentStateContract: readonly ContractCase<StateUnderTest>[] = [
  {
    title: "is empty at first, and has the written entries when it is opened again",
    async run({ open }) {
      const state = await open();
      equal((await state.load()).size, 0);
      equal([state.nodeId, state.opened, state.lost], [undefined, 0, undefined]);
      await state.write([
        { key: "a", value: bytes("1") },
        { key: "b/c", value: bytes("2") },
      ]);
      await state.write([
        { key: "a", value: undefined },
        { key: "d", value: bytes("") },
        { key: "none", value: undefined },
      ]);
      await state.close();
      const again = await open();
      equal(texts(await again.load()), { "b/c": "2", d: "" });
      await again.close();
    },
  },
  {
    title: "takes writes in the order of the calls",
    async run({ open }) {
      const state = await open();
      await Promise.all(Array.from({ length: 50 }, (_, n) => state.write([{ key: "a", value: bytes(String(n)) }])));
      equal(texts(await state.load()), { a: "49" });
      await state.close();
    },
  },
  {
    title: "keeps the node's id, and how often the record was opened",
    async run({ open }) {
      const state = await open();
      await state.identify("node-1", 1);
      await state.identify("node-1", 2);
      await state.close();
      const again = await open();
      equal([again.nodeId, again.opened, again.lost], ["node-1", 2, undefined]);
      await again.close();
    },
  },
  {
    title: "returns bytes that later writes do not change",
    async run({ open }) {
      const state = await open();
      const value = bytes("before");
      await state.write([{ key: "a", value }]);
      value.fill(0);
      const loaded = await state.load();
      await state.write([{ key: "a", value: bytes("after") }]);
      equal(texts(loaded), { a: "before" });
      check(loaded.get("a") instanceof Uint8Array, "bytes are a Uint8Array");
      await state.close();
    },
  },
];
