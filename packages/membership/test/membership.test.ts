import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClustersDefinition, type Cluster } from "@warren/api";
import { level, minLevel } from "@warren/api/model";
import { bindToMember, leadershipOf, Membership, memberOf, type Part } from "@warren/membership";
import { noMetrics, systemClock, systemRandom, type Metrics } from "@warren/std";
import { RecordingLogger, RecordingMetrics, until } from "@warren/std/testing";
import { describe, expect, it, onTestFinished } from "vitest";

import { readIdentity, writeIdentity, type Identity } from "../src/identity-file.ts";

type Work = { readonly started: () => number };

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "membership-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return join(path, "manager");
}

async function open(directory: string, metrics: Metrics = noMetrics): Promise<Membership<Work>> {
  let started = 0;
  const dependencies = {
    clock: systemClock,
    random: systemRandom,
    log: new RecordingLogger(),
    metrics,
    version: "1.2.3",
  };
  const membership = await Membership.open<Work>(
    {
      ...dependencies,
      join: () => ({
        work: { started: () => started },
        lead: () => {
          started += 1;
          return { [Symbol.asyncDispose]: async () => undefined };
        },
      }),
    },
    directory,
  );
  onTestFinished(() => membership[Symbol.asyncDispose]());
  return membership;
}

/** Founds a cluster with one object in its state, and closes. */
async function founded(directory: string): Promise<string> {
  await using membership = await open(directory);
  await membership.found(async ({ store, clusterId }) => {
    const meta = { id: clusterId, version: 0, createdAt: undefined, updatedAt: undefined };
    await store.update((tx) =>
      tx.create("clusters", { meta, spec: undefined, incarnation: { counter: 1, id: "first" }, level: 1 }),
    );
  });
  return memberOf(membership.part).clusterId;
}

const clustersOf = (part: Part<Work>): readonly Cluster[] => memberOf(part).store.view().list("clusters");

describe("a manager's part", () => {
  it("is none in a folder that was never used, and every call fails with the remedy", async () => {
    const { part } = await open(await folder());
    expect(part).toEqual({ kind: "none" });
    expect(() => memberOf(part)).toThrow(/no cluster yet/);
  });

  it("is a member once it has founded a cluster, and after it was opened again with what was written", async () => {
    const directory = await folder();
    const clusterId = await founded(directory);
    const again = await open(directory);
    expect(clustersOf(again.part).map(({ meta }) => meta?.id)).toEqual([clusterId]);
    await until("it leads", () => memberOf(again.part).work.started() === 1);
    expect(memberOf(again.part).hasLeader()).toBe(true);
    expect(memberOf(again.part).store.view().list("managers")).toMatchObject([{ level, minLevel, version: "1.2.3" }]);
  });

  it("continues an interrupted founding with the same cluster id", async () => {
    const directory = await folder();
    const first = await open(directory);
    const cutOff = first.found(async () => {
      throw new Error("killed");
    });
    await expect(cutOff).rejects.toThrow("killed");
    const { clusterId } = memberOf(first.part);
    await first[Symbol.asyncDispose]();
    await rm(join(directory, "raft"), { recursive: true });
    expect(await founded(directory)).toBe(clusterId);
  });

  it("keeps what a later program wrote to its identity, and does not take it for damaged", async () => {
    const directory = await folder();
    const path = join(directory, "identity.json");
    const later: Identity & { readonly zone: string } = {
      clusterId: "c1",
      managerId: "m1",
      phase: "founding",
      zone: "attic",
    };
    await writeIdentity(path, later);
    expect(await founded(directory)).toBe("c1");
    expect(await readIdentity(path)).toEqual({ ...later, phase: "member" });
    await writeFile(path, (await readFile(path, "utf8")).replace("attic", "cellar"));
    expect((await open(directory)).part).toMatchObject({ error: { code: "MEMBERSHIP_IDENTITY_DAMAGED" } });
  });

  it("is locked where the log of its cluster is missing, and founds no new one", async () => {
    const directory = await folder();
    await founded(directory);
    await rm(join(directory, "raft"), { recursive: true });
    const membership = await open(directory);
    expect(membership.part).toMatchObject({ kind: "locked", error: { code: "MEMBERSHIP_LOG_MISSING" } });
    expect(() => memberOf(membership.part)).toThrow(/raft is gone or empty/);
    await expect(membership.found(async () => undefined)).rejects.toMatchObject({
      code: "API_PRECONDITION",
      remedy: expect.stringContaining("warren cluster leave") as string,
    });
    expect(await readdir(directory)).toEqual(["identity.json"]);
  });

  it("L20: is locked, by name, where the cluster's level is above its program's, and the remedy costs no state", async () => {
    const directory = await folder();
    await founded(directory);
    {
      await using newer = await open(directory);
      const { store, led } = memberOf(newer.part);
      await led;
      const raised = store.update((tx) => tx.update("clusters", { ...tx.cluster!, level: level + 1 }));
      await expect(raised).rejects.toMatchObject({ code: "STORE_OUTCOME_UNKNOWN" });
      await expect(newer.failed).rejects.toMatchObject({ code: "RAFT_FSM_FAILED" });
    }
    const { part } = await open(directory);
    expect(part).toMatchObject({ kind: "locked", error: { code: "MEMBERSHIP_LEVEL_REFUSED" } });
    expect(() => memberOf(part)).toThrow(
      new RegExp(`manager [0-9a-z]{25} reads levels ${minLevel} to ${level} and the cluster's level is ${level + 1}`),
    );
    expect(part).toMatchObject({
      error: { remedy: expect.stringMatching(/^install the version .* nothing was changed$/) as string },
    });
  });

  it("is locked where there is a log and the identity is missing", async () => {
    const directory = await folder();
    await founded(directory);
    await rm(join(directory, "identity.json"));
    const { part } = await open(directory);
    expect(part).toMatchObject({ kind: "locked", error: { code: "MEMBERSHIP_IDENTITY_MISSING" } });
  });

  it.each([
    ["truncated", (path: string) => truncate(path, 20)],
    ["emptied", (path: string) => truncate(path, 0)],
    [
      "flipped",
      async (path: string) =>
        writeFile(path, (await readFile(path, "utf8")).replace(/"clusterId":"./, '"clusterId":"#')),
    ],
    ["replaced by null", (path: string) => writeFile(path, "null")],
  ])("is locked where the identity was %s", async (_how, damage) => {
    const directory = await folder();
    await founded(directory);
    await damage(join(directory, "identity.json"));
    const { part } = await open(directory);
    expect(part).toMatchObject({ kind: "locked", error: { code: "MEMBERSHIP_IDENTITY_DAMAGED" } });
  });

  it("with any file of its log cut or missing is locked, or has all that was written", async () => {
    const directory = await folder();
    const clusterId = await founded(directory);
    const files = (await readdir(join(directory, "raft"), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1));
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) {
      for (const damage of [(path: string) => truncate(path, 0), (path: string) => rm(path)]) {
        const copy = await folder();
        await cp(directory, copy, { recursive: true });
        await damage(join(copy, file));
        await using membership = await open(copy);
        const { part } = membership;
        if (part.kind === "locked") expect(part.error.message, file).toMatch(/raft/);
        else
          expect(
            clustersOf(part).map(({ meta }) => meta?.id),
            file,
          ).toEqual([clusterId]);
      }
    }
  }, 60_000);
});

describe("the barrier of reads", () => {
  it("is passed by a lone manager without a write to its disk, and is none where there is no member", async () => {
    const metrics = new RecordingMetrics();
    const membership = await open(await folder(), metrics);
    const leadership = leadershipOf(membership);
    expect(leadership.barrier()).toBeUndefined();
    await membership.found(async () => undefined);
    const { store } = memberOf(membership.part);
    await until("it has written its own row", () => store.view().list("managers").length === 1);
    const writes = (): unknown => metrics.values.get("warren_raft_log_writes_total");
    const before = writes();
    expect(before).toBeGreaterThan(0);
    for (let n = 0; n < 100; n++) await leadership.barrier();
    expect(writes()).toBe(before);
  });
});

describe("services", () => {
  it("are bound once, and each call goes to the part that the manager has then", async () => {
    const directory = await folder();
    await using membership = await open(directory);
    const bound = bindToMember(ClustersDefinition, membership, ({ clusterId }) => ({
      init: () => ({ meta: undefined, spec: undefined, incarnation: undefined, level: 0 }),
      get: () => ({
        cluster: undefined,
        version: clusterId,
        nodes: 0,
        nodesReady: 0,
        services: 0,
        tasksRunning: 0,
      }),
    }));
    const get = bound.handlers["get"] as unknown as (request: object, context: object) => { readonly version: string };
    expect(() => get({}, {})).toThrow(/no cluster yet/);
    await membership.found(async () => undefined);
    expect(get({}, {}).version).toBe(memberOf(membership.part).clusterId);
  });
});
