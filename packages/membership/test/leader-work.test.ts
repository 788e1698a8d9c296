import { whileLeading, type LeaderTerm, type LeaderWork, type LeaderWorkDependencies } from "@warren/membership";
import { systemRandom } from "@warren/std";
import { FakeClock, RecordingLogger, until } from "@warren/std/testing";
import { describe, expect, it } from "vitest";

/** Terms as a Raft member reports them, a store that records, and work that can be made to fail. */
function world() {
  const story: string[] = [];
  const clock = new FakeClock();
  const log = new RecordingLogger();
  let listener: ((term: LeaderTerm) => void) | undefined;
  let failures = 0;
  const refusals: Error[] = [];
  const dependencies: LeaderWorkDependencies = {
    onLeaderTerm(call) {
      listener = call;
      return () => (listener = undefined);
    },
    store: {
      async beginTerm(term) {
        const refusal = refusals.shift();
        if (refusal !== undefined) throw refusal;
        story.push(`begin ${term}`);
        return { term, reign: term * 100 };
      },
      endTerm: () => void story.push("end term"),
    },
    clock,
    random: systemRandom,
    log,
  };
  const lead = (term: number): AbortController => {
    const ending = new AbortController();
    listener?.({ term, signal: ending.signal });
    return ending;
  };
  const failed: ((error: unknown) => void)[] = [];
  const start: LeaderWork = async (_term, _signal, onFailure) => {
    failed.push(onFailure);
    if (failures > 0) {
      failures -= 1;
      throw new Error("no start");
    }
    story.push("start");
    return { [Symbol.asyncDispose]: async () => void story.push("stop") };
  };
  return {
    story,
    clock,
    log,
    refusals,
    failed,
    dependencies,
    lead,
    start,
    fail: (times: number) => (failures = times),
  };
}

describe("a leader's work", () => {
  it("starts once the term's first command is applied, and stops with the term", async () => {
    const { story, dependencies, lead, start } = world();
    await using _work = whileLeading(dependencies, start);
    const term = lead(1);
    await until("it works", () => story.length === 2);
    term.abort();
    await until("it has stopped", () => story.length === 4);
    expect(story).toEqual(["begin 1", "start", "stop", "end term"]);
  });

  it("is started twice, one after the other, for a term that was lost and won again at once", async () => {
    const { story, dependencies, lead, start } = world();
    await using _work = whileLeading(dependencies, start);
    const first = lead(1);
    await until("it works", () => story.length === 2);
    first.abort();
    lead(3);
    await until("the next works", () => story.length === 6);
    expect(story).toEqual(["begin 1", "start", "stop", "end term", "begin 3", "start"]);
  });

  it("never starts for a term that is over before its turn", async () => {
    const { story, dependencies, lead, start } = world();
    await using _work = whileLeading(dependencies, start);
    lead(1).abort();
    lead(2);
    await until("the next works", () => story.includes("start"));
    expect(story).toEqual(["end term", "begin 2", "start"]);
  });

  it("is retried when its start fails, while the term lasts", async () => {
    const { story, clock, log, dependencies, lead, start, fail, refusals } = world();
    refusals.push(new Error("not yet"));
    fail(1);
    await using _work = whileLeading(dependencies, start);
    lead(1);
    await until("the first try failed", () => clock.pending > 0);
    // The first delay is at most 100 ms, the second at least that.
    await clock.advanceAsync(100);
    await until("the second try failed", () => clock.pending > 0 && story.length === 1);
    await clock.advanceAsync(200);
    await until("it works", () => story.includes("start"));
    expect(story).toEqual(["begin 1", "begin 1", "start"]);
    expect(log.records.filter(({ level }) => level === "error")).toHaveLength(2);
  });

  it("is ended and started again when a part of it fails later, while the term lasts", async () => {
    const { story, clock, log, dependencies, lead, start, failed } = world();
    await using _work = whileLeading(dependencies, start);
    const term = lead(1);
    await until("it works", () => story.length === 2);
    failed[0]?.(new Error("a part ended"));
    await until("it has stopped, and waits", () => story.length === 3 && clock.pending > 0);
    await clock.advanceAsync(100);
    await until("it works again", () => story.length === 5);
    expect(story).toEqual(["begin 1", "start", "stop", "begin 1", "start"]);
    expect(log.records.filter(({ level }) => level === "error")).toHaveLength(1);
    term.abort();
    await until("the term is over", () => story.length === 7);
    failed[1]?.(new Error("too late"));
    expect(story.slice(5)).toEqual(["stop", "end term"]);
  });

  it("is not retried after the term", async () => {
    const { story, clock, dependencies, lead, start, fail } = world();
    fail(100);
    await using _work = whileLeading(dependencies, start);
    const term = lead(1);
    await until("a try failed", () => clock.pending > 0);
    term.abort();
    await until("the term is over", () => story.includes("end term"));
    expect(clock.pending).toBe(0);
  });

  it("stops when it is closed, and takes no further term", async () => {
    const { story, dependencies, lead, start } = world();
    const work = whileLeading(dependencies, start);
    lead(1);
    await until("it works", () => story.length === 2);
    await work[Symbol.asyncDispose]();
    lead(2);
    expect(story).toEqual(["begin 1", "start", "stop", "end term"]);
  });
});
