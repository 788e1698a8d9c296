import type { LeaderWork } from "@warren/membership";
import { noMetrics, systemClock, systemRandom } from "@warren/std";
import { RecordingLogger, until } from "@warren/std/testing";
import { memoryStore } from "@warren/store/testing";
import { expect, test } from "vitest";
import { joinParts } from "../src/parts.ts";

test("a leader whose dispatcher breaks is no leader: the failure is passed on, and the next start serves again", async () => {
  const { store } = memoryStore();
  const log = new RecordingLogger();
  const { lead } = joinParts({ clock: systemClock, random: systemRandom, log, metrics: noMetrics }, store);
  const { signal } = new AbortController();
  const failures: unknown[] = [];
  const start = async (): Promise<AsyncDisposable> =>
    lead(...([store.term!, signal, (error) => failures.push(error)] satisfies Parameters<LeaderWork>));
  const watch = store.watch.bind(store);
  const broken = new Error("broken");
  {
    store.watch = () => {
      throw broken;
    };
    await using _work = await start();
    await until("the failure is passed on", () => failures.length > 0);
  }
  store.watch = watch;
  await using _work = await start();
  await until("it serves", () => log.records.filter(({ event }) => event === "serves workers").length === 2);
  expect(failures).toEqual([broken]);
});
