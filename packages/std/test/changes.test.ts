import { describe, expect, test } from "vitest";
import { Changes, Channel } from "@warren/std";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("Changes", () => {
  test("a notification between reading the state and waiting is not lost", async () => {
    const changes = new Changes();
    const seen = changes.count;
    changes.notify();
    await changes.after(seen);
    expect(changes.count).toBe(1);
  });

  test("wakes every waiter, and one that waits again waits for the next notification", async () => {
    const changes = new Changes();
    const woken: string[] = [];
    const wait = (name: string): Promise<void> => changes.after(changes.count).then(() => void woken.push(name));
    const both = Promise.all([wait("a"), wait("b")]);
    changes.notify();
    await both;
    expect(woken).toEqual(["a", "b"]);
    const again = wait("c");
    await turn();
    expect(woken).toEqual(["a", "b"]);
    changes.notify();
    await again;
  });

  test("until() resolves with the condition's first value that is not undefined", async () => {
    const changes = new Changes();
    let value: number | undefined;
    const waiting = changes.until(() => value);
    changes.notify();
    await turn();
    value = 7;
    changes.notify();
    expect(await waiting).toBe(7);
    expect(await changes.until(() => value)).toBe(7);
  });

  test("an abort rejects with the signal's reason, before and during the wait", async () => {
    const changes = new Changes();
    const gone = new AbortController();
    const waiting = changes.until(() => undefined, gone.signal);
    gone.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
    await expect(changes.after(changes.count, gone.signal)).rejects.toThrow("gone");
  });
});

describe("Channel", () => {
  test("a sender waits until the reader has taken its value, and values arrive in order", async () => {
    const channel = new Channel<number>();
    const sent: number[] = [];
    const sending = (async () => {
      for (const value of [1, 2, 3]) {
        await channel.send(value);
        sent.push(value);
      }
      channel.close();
    })();
    await turn();
    expect(sent).toEqual([]);
    const read: number[] = [];
    for await (const value of channel) {
      read.push(value);
      expect(sent.length).toBeLessThanOrEqual(value);
    }
    await sending;
    expect(read).toEqual([1, 2, 3]);
  });

  test("senders do not wait while fewer values than the limit are queued", async () => {
    const channel = new Channel<number>(3);
    expect(await channel.send(1)).toBe(true);
    expect(await channel.send(2)).toBe(true);
    let third = false;
    const waiting = channel.send(3).then(() => (third = true));
    await turn();
    expect(third).toBe(false);
    const iterator = channel[Symbol.asyncIterator]();
    await iterator.next();
    await waiting;
    await iterator.return();
  });

  test("after close what is queued is read and what is sent is dropped; senders do not hang", async () => {
    const channel = new Channel<number>();
    const waiting = channel.send(1);
    channel.close();
    expect(await waiting).toBe(true);
    expect(await channel.send(2)).toBe(false);
    expect(await Array.fromAsync(channel)).toEqual([1]);
  });

  test("a failure is thrown in place of what was not read", async () => {
    const channel = new Channel<number>();
    const waiting = channel.send(1);
    channel.fail(new Error("lagged"));
    await waiting;
    await expect(Array.fromAsync(channel)).rejects.toThrow("lagged");
  });

  test("a reader that leaves ends the senders; an abort ends one sender", async () => {
    const channel = new Channel<number>();
    const gone = new AbortController();
    const one = channel.send(1, gone.signal);
    gone.abort();
    expect(await one).toBe(true);
    expect(await channel.send(2, gone.signal)).toBe(false);
    const other = channel.send(3);
    for await (const value of channel) {
      expect(value).toBe(1);
      break;
    }
    expect(await other).toBe(true);
    expect(await channel.send(4)).toBe(false);
  });
});
