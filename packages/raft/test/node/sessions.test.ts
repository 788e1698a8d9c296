import { expect, test } from "vitest";

import { Sessions } from "../../src/node/sessions.ts";

test("a command is new once, then known with its result, then forgotten once acknowledged", () => {
  const sessions = new Sessions();
  sessions.register(7, 1_000);
  expect(sessions.look(7, 1, 0)).toEqual({ kind: "new" });
  sessions.record(7, 1, Buffer.from("a"));
  expect(sessions.look(7, 1, 0)).toEqual({ kind: "known", result: Buffer.from("a") });
  expect(sessions.look(7, 2, 1)).toEqual({ kind: "new" });
  expect(sessions.look(7, 1, 0)).toEqual({ kind: "unknown" });
  expect(sessions.look(8, 1, 0)).toEqual({ kind: "unknown" });
});

test("a session ends when it was not used for its time, by the log's clock", () => {
  const sessions = new Sessions();
  sessions.register(7, 1_000);
  sessions.advance(900);
  expect(sessions.look(7, 1, 0).kind).toBe("new");
  sessions.advance(900);
  expect(sessions.look(7, 1, 0).kind).toBe("new");
  sessions.advance(1_001);
  expect(sessions.look(7, 1, 0).kind).toBe("unknown");
  expect(sessions.size).toBe(0);
});

test("a client that acknowledges nothing costs 1,024 results", () => {
  const sessions = new Sessions();
  sessions.register(7, 1_000);
  for (let number = 1; number <= 2_000; number++) sessions.record(7, number, undefined);
  expect(sessions.image().sessions[0]?.results).toHaveLength(1_024);
  expect(sessions.look(7, 976, 0).kind).toBe("unknown");
  expect(sessions.look(7, 977, 0).kind).toBe("known");
});

test("an image restores to the same sessions", () => {
  const sessions = new Sessions();
  sessions.register(7, 1_000);
  sessions.record(7, 1, undefined);
  sessions.record(7, 2, Buffer.from("b"));
  sessions.advance(5);
  const other = new Sessions();
  other.restore(sessions.image());
  expect(other.image()).toEqual(sessions.image());
  expect(other.look(7, 1, 0)).toEqual({ kind: "known", result: undefined });
});
