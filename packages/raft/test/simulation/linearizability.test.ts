import { seededRandom } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { checkLinearizable, readHistory, type Operation } from "../../src/testing/index.ts";

/** `put a 1 @1-4 >old`: kind, key, value (`cas`: expect/value), call and return (`?`: unknown, `!`: failed), output. */
function history(...lines: readonly string[]): Operation[] {
  return lines.map((line, at) => {
    const match = /^(\w+) (\w+) (\S*) ?@(\d+)-(\d+|\?|!)(?: >(.*))?$/u.exec(line);
    if (match === null) throw new Error(`no operation: ${line}`);
    const [, kind = "", key = "", argument = "", call, end = "", output = ""] = match;
    const [expected, written] = argument.split("/");
    const base = { operation: at, client: at, kind: kind as Operation["kind"], key, call: Number(call), callMs: 0 };
    const value = kind === "cas" ? { expect: expected ?? "", value: written ?? "" } : { value: argument };
    if (end === "?") return { ...base, ...value, outcome: "unknown" };
    if (end === "!") return { ...base, ...value, outcome: "fail" };
    return { ...base, ...value, return: Number(end), outcome: "ok", output };
  });
}

const good: Readonly<Record<string, readonly string[]>> = {
  "one after another": ["put x 1 @1-2 >", "read x @3-4 >1", "put x 2 @5-6 >1", "read x @7-8 >2"],
  "a read during a write sees either": ["put x 1 @1-6 >", "read x @2-3 >", "read x @4-5 >1"],
  "two writes at once, in the order that the reads tell": ["put x 1 @1-8 >2", "put x 2 @2-7 >", "read x @9-10 >1"],
  "an unknown write that took effect": ["put x 1 @1-?", "read x @2-3 >1"],
  "an unknown write that did not": ["put x 1 @1-?", "read x @2-3 >"],
  "an unknown write that took effect late": ["put x 1 @1-?", "read x @2-3 >", "put x 2 @4-5 >", "read x @6-7 >1"],
  "a failed write that nobody saw": ["put x 1 @1-!", "read x @2-3 >"],
  "comparisons and swaps": ["cas x /1 @1-2 >yes", "cas x 0/2 @3-4 >no", "cas x 1/3 @5-6 >yes", "read x @7-8 >3"],
  "appends, one of them unknown": ["append x ,a @1-2 >,a", "append x ,b @3-?", "append x ,c @4-5 >,a,b,c"],
  "keys are apart": ["put x 1 @1-4 >", "put y 1 @2-3 >", "read x @5-6 >1", "read y @7-8 >1"],
};

const bad: Readonly<Record<string, readonly string[]>> = {
  "a stale read": ["put x 1 @1-2 >", "put x 2 @3-4 >1", "read x @5-6 >1"],
  "a read from nowhere": ["put x 1 @1-2 >", "read x @3-4 >7"],
  "reads that go back": ["put x 1 @1-10 >", "read x @2-3 >1", "read x @4-5 >"],
  "a lost write": ["put x 1 @1-2 >", "read x @3-4 >"],
  "a failed write that was seen": ["put x 1 @1-!", "read x @2-3 >1"],
  "an unknown write that was seen, then not": ["put x 1 @1-?", "read x @2-3 >1", "read x @4-5 >"],
  "an unknown write that took effect twice": ["put x 1 @1-?", "read x @2-3 >1", "put x 2 @4-5 >1", "read x @6-7 >1"],
  "two swaps from one value": ["cas x /1 @1-4 >yes", "cas x /2 @2-3 >yes"],
  "an append applied twice": ["append x ,a @1-2 >,a", "append x ,b @3-4 >,a,a,b"],
  "two writes in two orders": ["put x 1 @1-8 >", "put x 2 @2-7 >"],
};

describe("the checker of linearizability", () => {
  for (const [name, lines] of Object.entries(good)) {
    test(`accepts ${name}`, () => expect(checkLinearizable(history(...lines)).linearizable).toBe(true));
  }

  for (const [name, lines] of Object.entries(bad)) {
    test(`rejects ${name}`, () => expect(checkLinearizable(history(...lines)).linearizable).toBe(false));
  }

  test("names what could not come next", () => {
    const verdict = checkLinearizable(history("put x 1 @1-2 >", "put x 2 @3-4 >1", "read x @5-6 >1"));
    expect(verdict).toMatchObject({ linearizable: false, key: "x", longest: 2, stuck: [{ operation: 2 }] });
  });

  test("says that it does not know when it gives up", () => {
    const writes = Array.from({ length: 12 }, (_, at) => `append x ${at} @${at + 1}-?`);
    expect(checkLinearizable(history(...writes, "read x @200-201 >nothing"), 50).linearizable).toBeUndefined();
  });

  test("accepts what a register did, whatever the concurrency, and notices one output changed", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const operations = registerHistory(seed);
      expect(checkLinearizable(operations).linearizable).toBe(true);
      const read = operations.find(({ kind, outcome }) => kind === "read" && outcome === "ok");
      if (read === undefined) continue;
      read.output = "never written";
      expect(checkLinearizable(operations).linearizable).toBe(false);
    }
  });

  test("agrees with a search of all orders, in small histories of few values", () => {
    const verdicts = new Map([true, false].map((verdict) => [verdict, 0]));
    for (let seed = 1; seed <= 3_000; seed++) {
      const operations = smallHistory(seed);
      const expected = someOrder("", operations);
      expect(checkLinearizable(operations).linearizable, JSON.stringify(operations)).toBe(expected);
      verdicts.set(expected, verdicts.get(expected)! + 1);
    }
    expect(Math.min(...verdicts.values())).toBeGreaterThan(500);
  });

  test("reads histories as they are written", () => {
    const [operation] = readHistory(
      '{"operation":0,"client":1,"kind":"put","key":"x","value":"1","call":1,"callMs":0.5,"outcome":"unknown"}\n',
    );
    expect(operation).toMatchObject({ kind: "put", value: "1", outcome: "unknown" });
  });
});

/** A history made by a real register: each operation acts at one moment within its interval. */
function registerHistory(seed: number): Operation[] {
  const random = seededRandom(seed);
  const operations: Operation[] = [];
  const open: { operation: Operation; acted: boolean }[] = [];
  let value = "";
  let moment = 0;
  for (let step = 0; step < 120; step++) {
    const roll = random.int(3);
    if (roll === 0 && open.length < 5) {
      const kind = random.int(2) === 0 ? "read" : "put";
      const made = { operation: operations.length, client: 0, key: "x", call: ++moment, callMs: 0 } as const;
      const operation: Operation = { ...made, kind, value: String(operations.length), outcome: "unknown" };
      operations.push(operation);
      open.push({ operation, acted: false });
    } else if (open.length > 0) {
      const one = open[random.int(open.length)]!;
      if (roll === 1 && !one.acted) {
        one.acted = true;
        one.operation.output = value;
        if (one.operation.kind === "put") value = one.operation.value!;
      } else if (one.acted && random.int(10) > 0) {
        open.splice(open.indexOf(one), 1);
        one.operation.outcome = "ok";
        one.operation.return = ++moment;
      }
    }
  }
  return operations;
}

/** Up to six operations of one register, whose intervals and outputs chance decides. */
function smallHistory(seed: number): Operation[] {
  const random = seededRandom(seed);
  const values = ["", "a", "b", "ab"];
  const value = (): string => values[random.int(values.length)]!;
  const moments = Array.from({ length: 12 }, (_, at) => at + 1);
  return Array.from({ length: 2 + random.int(5) }, (_, at): Operation => {
    const [first, second] = [0, 0].map(() => moments.splice(random.int(moments.length), 1)[0]!);
    const [call, end] = [Math.min(first!, second!), Math.max(first!, second!)];
    const kind = (["read", "put", "append", "cas"] as const)[random.int(4)]!;
    const base = { operation: at, client: at, kind, key: "x", value: value(), expect: value(), call, callMs: 0 };
    const outcome = (["ok", "ok", "ok", "unknown", "fail"] as const)[random.int(5)]!;
    if (outcome !== "ok") return { ...base, outcome };
    return { ...base, outcome, return: end, output: kind === "cas" ? ["yes", "no"][random.int(2)]! : value() };
  });
}

/** Whether the operations that are left can go on from a value, in any order that real time allows. */
function someOrder(value: string, left: readonly Operation[]): boolean {
  const pending = left.filter(({ outcome }) => outcome !== "fail");
  if (pending.every(({ outcome }) => outcome === "unknown")) return true;
  return pending.some((one) => {
    if (pending.some((other) => other !== one && other.outcome === "ok" && other.return! < one.call)) return false;
    const { kind, value: written = "", expect: expected, outcome, output } = one;
    const after = { read: value, put: written, append: value + written, cas: value === expected ? written : value }[
      kind
    ];
    const says = { read: value, put: value, append: after, cas: value === expected ? "yes" : "no" }[kind];
    if (outcome === "ok" && says !== output) return false;
    return someOrder(
      after,
      pending.filter((other) => other !== one),
    );
  });
}
