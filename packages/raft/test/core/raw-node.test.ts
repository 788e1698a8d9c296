import { describe, expect, test } from "vitest";

import {
  decodeConfChange,
  describeEntry,
  encodeConfChange,
  LocalAppendThread,
  LocalApplyThread,
  MemoryStorage,
  message,
  RaftError,
  RawNode,
  type AnyConfChange,
  type Config,
  type Message,
  type RaftEvent,
} from "../../src/core/index.ts";

const config = (options: Partial<Config> = {}): Config => ({
  id: 1,
  storage: new MemoryStorage(),
  random: { int: () => 0 },
  ...options,
});

/** A lone voter that leads. */
function leader(options: Partial<Config> = {}): RawNode {
  const storage = new MemoryStorage();
  const confState = { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  storage.applySnapshot({ metadata: { index: 2, term: 1, confState }, data: new Uint8Array(0) });
  const node = new RawNode(config({ storage, ...options }));
  node.campaign();
  while (node.hasReady()) {
    storage.append(node.ready().entries);
    node.advance();
  }
  return node;
}

function code(body: () => void): string | undefined {
  try {
    body();
    return undefined;
  } catch (error) {
    return RaftError.is(error) ? error.code : String(error);
  }
}

describe("options", () => {
  const lease = { nowMs: () => 0, durationMs: 1 };
  test.each<[string, Partial<Config>]>([
    ["id", { id: 0 }],
    ["id", { id: LocalApplyThread }],
    ["id", { id: 1.5 }],
    ["heartbeatTicks", { heartbeatTicks: 0 }],
    ["electionTicks", { electionTicks: 1 }],
    ["maxInflightMsgs", { maxInflightMsgs: 0 }],
    ["maxInflightBytes", { maxInflightBytes: 1 }],
    ["maxSizePerMsg", { maxSizePerMsg: -1 }],
    ["maxCommittedSizePerReady", { maxCommittedSizePerReady: 0 }],
    ["maxUncommittedEntriesSize", { maxUncommittedEntriesSize: 0 }],
    ["checkQuorum", { readOnlyOption: "lease", checkQuorum: false, lease }],
    ["lease", { readOnlyOption: "lease" }],
  ])("%s is refused: %o", (option, options) => {
    expect(() => new RawNode(config(options))).toThrow(`raft option ${option} `);
    expect(code(() => new RawNode(config(options)))).toBe("RAFT_OPTIONS_INVALID");
  });
});

describe("a node", () => {
  test("refuses local messages and unknown peers' responses from others", () => {
    const node = leader();
    expect(code(() => node.step(message("MsgHup", { from: 2 })))).toBe("RAFT_LOCAL_MESSAGE");
    expect(code(() => node.step(message("MsgAppResp", { from: 9, term: 1 })))).toBe("RAFT_PEER_UNKNOWN");
  });

  test("says why a proposal was dropped, as an error and as an event", () => {
    const events: RaftEvent[] = [];
    const node = new RawNode(config({ onEvent: (event) => events.push(event) }));
    expect(() => node.propose(new Uint8Array(1))).toThrow("no-leader");
    expect(events.at(-1)).toEqual({ kind: "proposal-dropped", reason: "no-leader" });
    expect(node.readIndex(new Uint8Array(1))).toBe(false);
  });

  test("takes a batch as one write, in order, or not at all", () => {
    const node = leader({ maxUncommittedEntriesSize: 5 });
    node.proposeBatch([new Uint8Array(3), new Uint8Array(4)]);
    expect(code(() => node.proposeBatch([new Uint8Array(0), new Uint8Array(1)]))).toBe("RAFT_PROPOSAL_DROPPED");
    expect(node.ready().entries.map(({ index, data }) => [index, data.length])).toEqual([
      [4, 3],
      [5, 4],
    ]);
  });

  test("must be advanced before the next ready, unless storage answers by messages", () => {
    const node = leader();
    node.propose(new Uint8Array(1));
    node.ready();
    node.propose(new Uint8Array(1));
    expect(() => node.ready()).toThrow("advance()");
    expect(() => new RawNode(config({ asyncStorageWrites: true })).advance()).toThrow("responses");
  });

  test("starts again from what its storage holds", () => {
    const storage = new MemoryStorage();
    storage.append([{ term: 3, index: 1, type: "EntryNormal", data: new Uint8Array(0) }]);
    storage.setHardState({ term: 4, vote: 2, commit: 1 });
    expect(new RawNode(config({ storage })).basicStatus()).toMatchObject({ term: 4, vote: 2, commit: 1, applied: 0 });
    storage.setHardState({ term: 4, vote: 2, commit: 2 });
    expect(() => new RawNode(config({ storage }))).toThrow("not within the log");
  });

  test("takes no answer of an older term to a write: what is there may have been replaced and come back since", () => {
    const storage = new MemoryStorage();
    const confState = { voters: [1, 2, 3], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
    storage.applySnapshot({ metadata: { index: 2, term: 1, confState }, data: new Uint8Array(0) });
    const node = new RawNode(config({ storage, asyncStorageWrites: true }));
    const entry = (term: number) => ({ term, index: 3, type: "EntryNormal" as const, data: Buffer.from([term]) });
    const append = (term: number, of: number): readonly Message[] => {
      node.step(message("MsgApp", { from: 2, to: 1, term, index: 2, logTerm: 1, entries: [entry(of)], commit: 2 }));
      const write = node.ready().messages.find(({ to }) => to === LocalAppendThread);
      return write?.responses.filter(({ to }) => to === 1) ?? [];
    };
    // The entry of term 1 is written, then that of term 2 in its place, then the first again.
    const first = append(1, 1);
    append(2, 2);
    const last = append(3, 1);
    for (const m of first) node.step(m);
    expect(node.state.log.unstable.entries).toHaveLength(1);
    for (const m of last) node.step(m);
    expect(node.state.log.unstable.entries).toHaveLength(0);
  });

  test("lets a snapshot wait for the entries that are being applied, a membership change among them", () => {
    const storage = new MemoryStorage();
    const confState = { voters: [1, 2, 3], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
    storage.applySnapshot({ metadata: { index: 2, term: 1, confState }, data: new Uint8Array(0) });
    const node = new RawNode(config({ storage, preVote: false }));
    const change = { version: 1, type: "ConfChangeAddNode", nodeId: 4 } as const;
    const entries = [{ term: 1, index: 3, ...encodeConfChange(change) }];
    node.step(message("MsgApp", { from: 2, to: 1, term: 1, index: 2, logTerm: 1, entries, commit: 3 }));
    const ready = node.ready();
    storage.append(ready.entries);
    const later = { ...confState, voters: [1, 2, 3, 4, 5] };
    const snapshot = { metadata: { index: 9, term: 1, confState: later }, data: new Uint8Array(0) };
    node.step(message("MsgSnap", { from: 2, to: 1, term: 1, snapshot }));
    expect(node.applyConfChange(change).voters).toEqual([1, 2, 3, 4]);
    node.advance();
    expect(node.ready().snapshot).toBe(snapshot);
    expect(node.confState().voters).toEqual([1, 2, 3, 4, 5]);
  });

  test("with lease reads, gives no vote for an election timeout after a restart: it may owe one to a leader", () => {
    const storage = new MemoryStorage();
    const confState = { voters: [1, 2, 3], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
    storage.applySnapshot({ metadata: { index: 2, term: 1, confState }, data: new Uint8Array(0) });
    storage.setHardState({ term: 1, vote: 0, commit: 2 });
    const lease = { nowMs: () => 0, durationMs: 1 };
    const node = new RawNode(
      config({ storage, readOnlyOption: "lease", lease, random: { int: (bound) => bound - 1 } }),
    );
    const ask = (): void => node.step(message("MsgVote", { from: 2, to: 1, term: 2, index: 2, logTerm: 1 }));
    ask();
    expect(node.hasReady()).toBe(false);
    for (let tick = 0; tick < 10; tick++) node.tick();
    ask();
    expect(node.ready().messages).toMatchObject([{ type: "MsgVoteResp", reject: false }]);
  });
});

describe("membership changes", () => {
  const context = new Uint8Array([1, 2, 3]);
  test.each<AnyConfChange>([
    { version: 1, type: "ConfChangeAddNode", nodeId: 1 },
    { version: 1, type: "ConfChangeAddLearnerNode", nodeId: 2 ** 40, context },
    { version: 2, transition: "ConfChangeTransitionAuto", changes: [] },
    {
      version: 2,
      transition: "ConfChangeTransitionJointExplicit",
      changes: [
        { type: "ConfChangeRemoveNode", nodeId: 300 },
        { type: "ConfChangeUpdateNode", nodeId: 4 },
      ],
      context,
    },
  ])("are read back as they were written: %o", (change) => {
    expect(decodeConfChange(encodeConfChange(change))).toEqual(change);
  });

  test.each([
    [[0x08]],
    [[0x08, 0x09]],
    [[0x12, 0x05, 0x08]],
    [[0x0d, 0, 0, 0, 0]],
    [Array.from({ length: 12 }, () => 0xff)],
  ])("bytes that are none are refused: %o", (bytes) => {
    const broken = { type: "EntryConfChangeV2", data: Uint8Array.from(bytes) } as const;
    expect(code(() => decodeConfChange(broken))).toBe("RAFT_CONF_CHANGE_INVALID");
  });
});

describe("text", () => {
  test.each<[number[], string]>([
    [[0x61, 0x22, 0x5c, 0x0a, 0x01], String.raw`1/2 EntryNormal "a\"\\\n\x01"`],
    [[0xff, 0x61], String.raw`1/2 EntryNormal "\xffa"`],
    [[...new TextEncoder().encode("é")], '1/2 EntryNormal "é"'],
  ])("quotes data %o", (bytes, expected) => {
    expect(describeEntry({ term: 1, index: 2, type: "EntryNormal", data: Uint8Array.from(bytes) })).toBe(expected);
  });
});
