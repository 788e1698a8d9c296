import { describe, expect, test } from "vitest";
import { WarrenError, assert, errorText, newId, noMetrics, silentLogger, systemRandom, type Random } from "@warren/std";
import { RecordingLogger, RecordingMetrics, seededRandom, until } from "@warren/std/testing";

describe("Random", () => {
  test("a seed gives the same sequence every time, and another seed another", () => {
    const draw = (random: Random): number[] => Array.from({ length: 8 }, () => random.next());
    expect(draw(seededRandom(7))).toEqual(draw(seededRandom(7)));
    expect(draw(seededRandom(7))).not.toEqual(draw(seededRandom(8)));
    expect(seededRandom(7).bytes(4)).toEqual(seededRandom(7).bytes(4));
  });

  test("ids are 25 characters of [0-9a-z] and differ", () => {
    const ids = new Set(Array.from({ length: 1_000 }, () => newId(systemRandom)));
    expect(ids.size).toBe(1_000);
    for (const id of ids) expect(id).toMatch(/^[0-9a-z]{25}$/);
  });
});

describe("WarrenError", () => {
  class DiskError extends WarrenError<{ readonly code: "DISK_FULL"; readonly freeBytes: number }> {}
  const full = new DiskError({ code: "DISK_FULL", freeBytes: 0 }, "the disk is full", { cause: new Error("ENOSPC") });

  test("is() distinguishes it from other errors, by code too", () => {
    expect([WarrenError.is(full), WarrenError.is(full, "DISK_FULL"), WarrenError.is(full, "OTHER")]).toEqual([
      true,
      true,
      false,
    ]);
    expect([WarrenError.is(new Error("plain")), WarrenError.is("text")]).toEqual([false, false]);
    expect([full.code, full.name]).toEqual(["DISK_FULL", "DiskError"]);
  });

  test("errorText has the causes on one line", () => {
    expect(errorText(full)).toBe("the disk is full: ENOSPC");
    expect(errorText("thrown text")).toBe("thrown text");
    const refused = new Error("fetch failed", { cause: new Error("connect ECONNREFUSED") });
    const away = new Error("r can't be reached: fetch failed: connect ECONNREFUSED", { cause: refused });
    expect(errorText(away)).toBe("r can't be reached: fetch failed: connect ECONNREFUSED");
  });

  test("a failed assertion names what can't be", () => {
    expect(() => assert(false, "terms only grow")).toThrow("assertion failed: terms only grow");
  });
});

describe("recorders for tests", () => {
  test("a child logger adds its fields and shares the record", () => {
    const log = new RecordingLogger();
    const child = log.child({ component: "raft" });
    child.debug("a");
    child.info("b", { term: 2 });
    log.warn("c");
    log.error("d");
    expect(log.records.map((record) => `${record.level} ${record.event}`)).toEqual([
      "debug a",
      "info b",
      "warn c",
      "error d",
    ]);
    expect(log.records[1]?.fields).toEqual({ component: "raft", term: 2 });
  });

  test("metrics are kept by name and labels", () => {
    const metrics = new RecordingMetrics();
    const requests = metrics.counter({ name: "warren_requests_total", help: "Requests.", labels: ["code"] });
    requests.add();
    requests.add(2, { code: "ok" });
    requests.add(3, { code: "ok" });
    metrics.gauge({ name: "warren_peers", help: "Peers." }).set(4);
    const seconds = metrics.histogram({ name: "warren_commit_seconds", help: "Commit." });
    seconds.observe(0.1);
    seconds.observe(0.2);
    expect(Object.fromEntries(metrics.values)).toEqual({
      warren_requests_total: 1,
      'warren_requests_total{code="ok"}': 5,
      warren_peers: 4,
    });
    expect(metrics.observations.get("warren_commit_seconds")).toEqual([0.1, 0.2]);
  });

  test("the logger and the metrics that drop everything accept every call", () => {
    silentLogger.child({ component: "x" }).error("event");
    noMetrics.counter({ name: "a_total", help: "" }).add();
    noMetrics.gauge({ name: "a", help: "" }).set(1);
    noMetrics.histogram({ name: "a_seconds", help: "" }).observe(1);
    expect(silentLogger.child({})).toBe(silentLogger);
  });
});

describe("until", () => {
  test("returns the first value that is not false or undefined", async () => {
    let looks = 0;
    expect(await until("the third look", () => ++looks === 3 && "seen")).toBe("seen");
  });

  test("names what it waited for when time runs out", async () => {
    await expect(until("the impossible happens", () => false, 1)).rejects.toThrow("until the impossible happens");
  });
});
