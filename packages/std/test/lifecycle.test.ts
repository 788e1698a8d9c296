import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { AsyncQueue, Backoff, TaskGroup, logFailures, serially } from "@warren/std";
import { RecordingLogger, seededRandom } from "@warren/std/testing";

describe("AsyncQueue", () => {
  test("yields values in order, also those pushed before the reader began, and ends after close", async () => {
    const queue = new AsyncQueue<number>();
    queue.push(1);
    queue.push(2);
    const read: number[] = [];
    const reader = (async () => {
      for await (const value of queue) read.push(value);
    })();
    queue.push(3);
    queue.close();
    await reader;
    expect(read).toEqual([1, 2, 3]);
    expect(queue.push(4)).toBe(false);
  });

  test("past its limit a push is refused and the value is not queued", () => {
    const queue = new AsyncQueue<number>(1);
    expect([queue.push(1), queue.push(2), queue.length]).toEqual([true, false, 1]);
    expect(queue.drain()).toEqual([1]);
  });

  test("a failure reaches the reader at once and drops what is queued", async () => {
    const queue = new AsyncQueue<number>();
    queue.push(1);
    queue.fail(new Error("the source is gone"));
    await expect(queue[Symbol.asyncIterator]().next()).rejects.toThrow("the source is gone");
  });

  test("a reader that leaves closes the queue, so that the producer's next push returns false", async () => {
    const queue = new AsyncQueue<number>();
    queue.push(1);
    for await (const value of queue) {
      expect(value).toBe(1);
      break;
    }
    expect(queue.push(2)).toBe(false);
  });
});

describe("TaskGroup", () => {
  test("work that throws before its first await fails as any other", async () => {
    const failures: unknown[] = [];
    await using group = new TaskGroup((name, error) => failures.push([name, (error as Error).message]));
    group.run("early", () => {
      throw new Error("no disk");
    });
    await group.close();
    expect(failures).toEqual([["early", "no disk"]]);
  });

  test("an onFailure that throws is a warning, and ends neither the group nor the process", async () => {
    const warned = once(process, "warning") as Promise<[Error]>;
    const group = new TaskGroup(() => {
      throw new Error("the log is gone");
    });
    group.run("work", () => Promise.reject(new Error("no disk")));
    const [warning] = await warned;
    expect(warning.message).toBe("the failure of 'work' could not be reported: the log is gone: no disk");
    await group.close();
  });

  test("close aborts the signal and waits for all work", async () => {
    const group = new TaskGroup(() => undefined);
    let ended = false;
    group.run("waits for the end", async (signal) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      ended = true;
    });
    await group.close();
    expect(ended).toBe(true);
  });

  test("a failure is reported under its work's name, unless the group was closing", async () => {
    const log = new RecordingLogger();
    const group = new TaskGroup(logFailures(log));
    const failed = Promise.withResolvers<void>();
    group.run("the failing one", async () => {
      failed.resolve();
      throw new Error("broken");
    });
    await failed.promise;
    group.run("ends with the group", async (signal) => {
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
    });
    await group.close();
    expect(log.records.map((record) => record.fields["work"])).toEqual(["the failing one"]);
  });

  test("a parent's abort ends the group's work", () => {
    const parent = new AbortController();
    const group = new TaskGroup(() => undefined, parent.signal);
    parent.abort();
    expect(group.signal.aborted).toBe(true);
    expect(new TaskGroup(() => undefined, parent.signal).signal.aborted).toBe(true);
  });
});

test("serially runs one call at a time in the order of the calls, also after one failed", async () => {
  const run = serially();
  const order: string[] = [];
  const first = run(async () => {
    order.push("first begins");
    await Promise.resolve();
    order.push("first ends");
    throw new Error("first failed");
  });
  const second = run(async () => order.push("second"));
  await expect(first).rejects.toThrow("first failed");
  await second;
  expect(order).toEqual(["first begins", "first ends", "second"]);
});

test("a back-off doubles within its bounds, stays in the upper half of each step, and starts over after reset", () => {
  const backoff = new Backoff(seededRandom(1), { baseMs: 100, maxMs: 400 });
  for (const step of [100, 200, 400, 400]) {
    const delayMs = backoff.next();
    expect(delayMs).toBeGreaterThanOrEqual(step / 2);
    expect(delayMs).toBeLessThan(step);
  }
  backoff.reset();
  expect(backoff.next()).toBeLessThan(100);
});
