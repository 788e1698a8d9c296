import { Cluster } from "@warren/api";
import { level } from "@warren/api/model";
import { AsyncQueue } from "@warren/std";
import { RecordingLogger, until } from "@warren/std/testing";
import type { ChangeBatch, View } from "@warren/store";
import { expect, test } from "vitest";

import { followActiveLevel } from "../src/levels.ts";

test("Raft writes at the active level of the cluster, from when it is applied here, and of no other", async () => {
  let cluster: Cluster | undefined;
  const changes = new AsyncQueue<ChangeBatch>(10);
  const view = (): View => ({ cluster }) as View;
  const set: number[] = [];
  const becomes = (active: number): void => {
    cluster = Cluster.create({ level: active });
    changes.push({ version: active, changes: [] });
  };
  const store = {
    view,
    watch: ({ signal }: { readonly signal: AbortSignal }) => {
      signal.addEventListener("abort", () => changes.close());
      return { view: view(), changes };
    },
  };
  const node = { setActiveLevel: async (active: number) => void set.push(active) };
  {
    await using _following = followActiveLevel(store, node, new RecordingLogger());
    becomes(level);
    await until("it writes at the cluster's level", () => set.at(-1) === level);
    becomes(level + 1);
    await until("it follows", () => set.at(-1) === level + 1);
  }
  expect(new Set(set)).toEqual(new Set([level, level + 1]));
});
