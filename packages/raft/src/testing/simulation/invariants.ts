/**
 * The sixteen invariants, checked as a simulated cluster runs.
 *
 *  1. One leader per term, ever.
 *  2. A leader only appends.
 *  3. Log matching: an index and a term name one entry and all before it.
 *  4. Leader completeness: who leads has everything that was committed before.
 *  5. Per index the same term and bytes everywhere, applied without gaps.
 *  6. A committed index never changes.
 *  7. Committed means in the durable image of a quorum of every active half of the configuration.
 *  8. No vote or append is acknowledged before it is durable.
 *  9. Term, commit and applied never go back; one durable vote a term.
 * 10. firstIndex − 1 ≤ snapshot ≤ applied ≤ committed ≤ last.
 * 11. Never two valid leases, nor another leader beside one, within the declared drift; re-checked when the reply
 *     leaves (by 14).
 * 12. One unapplied membership change; successive quorums intersect; a snapshot's ConfState is that at its index.
 * 13. A snapshot at an index equals the replay to it, sessions included.
 * 14. Clients: linearizable; acknowledged is never lost; timed out is unknown; exactly once with sessions.
 * 15. Power loss drops any unsynced suffix; torn tails recover to a prefix; what resolved as synced is on the disk; a
 *     member starts with what its disk holds; damage and failed writes never pass silently.
 * 16. Once healed: one leader, convergence, new writes commit.
 *
 * 14 is judged when the run is over (`linearizability.ts`; exactly once, here), 15 where a member starts and ends, and
 * 16 after the faults ended (`world.ts`). 0 stands for what is none of them: a member
 * stopped with no fault to blame, or led on while it stalled.
 */
import type { ConfState, Entry, Message, SnapshotMetadata } from "../../core/index.ts";
import { describeConfState } from "../../core/describe.ts";
import type { Inspection, NodeProbe, RaftNode } from "../../node/index.ts";
import { splitHead } from "../../node/snapshot-head.ts";
import type { RaftStorage } from "../../storage/index.ts";
import { encodeEntry } from "../../storage/record.ts";
import type { Configuration } from "../../core/tracker.ts";
import type { SimulatedDisk } from "./disk.ts";
import type { LogState } from "./log-image.ts";
import { decodeAction } from "./machine.ts";
import { describeSessions, Replay } from "./replay.ts";
import { watched, type StorageObserver } from "./watched-storage.ts";

export class Violation extends Error {
  readonly invariant: number;

  constructor(invariant: number, what: string) {
    super(`invariant ${invariant}: ${what}`);
    this.name = "Violation";
    this.invariant = invariant;
  }
}

/** A member's run, from one start to its end. */
interface Run {
  readonly inside: Inspection;
  readonly storage: RaftStorage;
  term: number;
  commit: number;
  applied: number;
  leads: boolean;
  /** Position in the replay's applications of the one that its state machine gets next. */
  application: number;
  /** The newest snapshot that came from a leader: it is listed before it is installed. */
  received: number;
  /** Which snapshot the state machine was given last. */
  restoring: number;
  /** The log's end and the commit index when its uncommitted membership changes were counted. */
  counted: { last: number; committed: number };
}

interface KnownEntry {
  readonly term: number;
  readonly checksum: number;
  readonly previousTerm: number;
}

interface Committed {
  readonly term: number;
  readonly checksum: number;
  /** The term of the leader that committed it. */
  readonly inTerm: number;
}

/** Index and term as one number. */
const place = (index: number, term: number): number => term * 2 ** 24 + index;

export class Invariants {
  /** The highest index that any member took for committed. */
  lastCommitted = 1;
  /** The first one, if any. */
  violation: Violation | undefined;
  readonly replay: Replay = new Replay();
  /** All the disks that a member ever had, by its id. */
  private readonly disks = new Map<number, SimulatedDisk[]>();
  private readonly durable = new Map<SimulatedDisk, LogState>();
  private readonly runs = new Map<number, Run>();
  private readonly leaders = new Map<number, number>();
  private readonly entries = new Map<number, KnownEntry>();
  /** By leader's term and index: the term of the leader's entry there. */
  private readonly leaderTerms = new Map<number, number>();
  private readonly history: Committed[] = [];
  private readonly operations = new Map<number, number>();
  /** Configurations, by the index from which each holds, ascending. */
  private readonly configurations: { readonly index: number; readonly confState: ConfState }[] = [];
  private readonly intersecting = new Set<string>();

  bootstrapped(confState: ConfState): void {
    this.configurations.push({ index: 1, confState });
    this.history[1] = { term: 1, checksum: 0, inTerm: 1 };
  }

  addDisk(id: number, disk: SimulatedDisk): void {
    this.disks.set(id, [...(this.disks.get(id) ?? []), disk]);
  }

  /** A member starts; called before its first turn. */
  started(id: number, node: RaftNode, storage: RaftStorage): void {
    const inside = node.inspect();
    const { raft, applied } = inside;
    const { committed } = raft.log;
    this.expect(committed <= this.lastCommitted, 6, `member ${id} starts at commit ${committed}, which no quorum has`);
    for (let index = raft.log.firstIndex(); index <= committed; index++) {
      const term = raft.log.term(index);
      const known = this.history[index]?.term;
      this.expect(term === known, 6, `member ${id} starts with ${index} of term ${term}; committed was ${known}`);
    }
    const application = this.replay.applications.findIndex((index) => index > applied);
    const run: Run = {
      inside,
      storage,
      term: raft.term,
      commit: committed,
      applied,
      leads: false,
      application: application < 0 ? this.replay.applications.length : application,
      received: 0,
      restoring: 0,
      counted: { last: 0, committed: 0 },
    };
    this.runs.set(id, run);
  }

  /** A member's storage, so that its snapshots are compared with the replay. */
  watched(id: number, storage: RaftStorage, done: StorageObserver["done"]): RaftStorage {
    return watched(storage, {
      done,
      saving: (metadata, chunks) => this.inspected(id, metadata, chunks),
      receiving: ({ index }) => {
        const run = this.runs.get(id);
        if (run !== undefined) run.received = Math.max(run.received, index);
      },
    });
  }

  /** What a member that is to start calls. */
  probe(id: number): NodeProbe {
    return {
      committed: (before, index) => {
        const raft = this.runs.get(id)?.inside.raft;
        const entries = raft?.log.slice(before + 1, index + 1, Number.POSITIVE_INFINITY) ?? [];
        if (raft !== undefined) this.committed(id, entries, raft.term);
      },
      restoring: (index) => {
        const run = this.runs.get(id);
        if (run !== undefined) run.restoring = index;
      },
      quorumReached: (index) => {
        const raft = this.runs.get(id)?.inside.raft;
        if (raft !== undefined) this.quorumReached(id, index, raft.tracker.config, raft.term);
      },
      configured: (index, confState) => {
        if (this.runs.has(id)) this.configured(id, index, confState);
      },
    };
  }

  ended(id: number): void {
    this.runs.delete(id);
  }

  /** After each event: all members as they are now. */
  check(): void {
    let leaseTerm = Number.POSITIVE_INFINITY;
    let latestTerm = 0;
    for (const [id, run] of this.runs) {
      const { raft, applied } = run.inside;
      const { log } = raft;
      if (raft.term !== run.term || log.committed !== run.commit || applied !== run.applied) {
        this.monotonic(id, run, raft.term, log.committed, applied);
      }
      const leads = raft.isLeader();
      if (leads) {
        if (!run.leads || raft.term !== run.term) this.elected(id, run);
        if (run.inside.leaseValid) leaseTerm = Math.min(leaseTerm, raft.term);
        latestTerm = Math.max(latestTerm, raft.term);
        this.oneChangeAtATime(id, run);
      }
      run.term = raft.term;
      run.leads = leads;
      this.bounds(id, run, applied);
    }
    this.expect(latestTerm <= leaseTerm, 11, `a lease of term ${leaseTerm} is valid while term ${latestTerm} is led`);
  }

  /** A message leaves a member. */
  sent(from: number, m: Message): void {
    switch (m.type) {
      case "MsgApp":
        this.leads(m.term, from);
        this.appendSent(m);
        break;
      case "MsgHeartbeat":
      case "MsgSnap":
        this.leads(m.term, from);
        break;
      case "MsgVoteResp":
        if (!m.reject) this.voteSent(from, m);
        break;
      case "MsgAppResp":
        if (!m.reject) this.acknowledged(from, m);
        break;
      default:
    }
  }

  /** A synced write of a member's is done. */
  written(id: number, disk: SimulatedDisk): void {
    const before = this.durable.get(disk);
    const now = disk.durableState();
    this.durable.set(disk, now);
    if (before === undefined) return;
    this.expect(now.term >= before.term, 9, `member ${id}'s durable term went from ${before.term} to ${now.term}`);
    const kept = now.term > before.term || before.vote === 0 || now.vote === before.vote;
    this.expect(kept, 9, `member ${id} voted for ${before.vote}, then ${now.vote} in term ${now.term}`);
  }

  /** A state machine applied a command. */
  applied(id: number, index: number, data: Uint8Array, result: string): void {
    const run = this.runs.get(id);
    if (run === undefined) return;
    const expected = this.replay.applications[run.application];
    this.expect(index === expected, 5, `member ${id} applied ${index}; the next in the log is ${String(expected)}`);
    run.application++;
    const known = this.replay.result(index);
    this.expect(result === known, 5, `member ${id} at ${index} has result ${result}, the log gives ${String(known)}`);
    const { operation } = decodeAction(data);
    const first = this.operations.get(operation);
    this.expect(first === undefined || first === index, 14, `operation ${operation} applied at ${first} and ${index}`);
    this.operations.set(operation, index);
  }

  /** A member replaced its state by a snapshot's; when it starts, by its newest. */
  restored(id: number, image: string, newest: number): void {
    const run = this.runs.get(id);
    const index = run?.restoring ?? newest;
    this.expect(image === this.replay.image(index), 13, `member ${id} restored another state than that at ${index}`);
    if (run === undefined) return;
    const next = this.replay.applications.findIndex((application) => application > index);
    run.application = next < 0 ? this.replay.applications.length : next;
  }

  /** The configuration at an index. */
  configurationAt(index: number): ConfState {
    return (this.configurations.findLast((known) => known.index <= index) ?? this.configurations[0])
      ?.confState as ConfState;
  }

  expect(condition: boolean, invariant: number, what: string): void {
    if (!condition) this.violated(invariant, what);
  }

  /** Remembers it before it throws: the member in whose turn it was found takes what it catches for its own failure. */
  violated(invariant: number, what: string): never {
    const violation = new Violation(invariant, what);
    this.violation ??= violation;
    throw violation;
  }

  private monotonic(id: number, run: Run, term: number, commit: number, applied: number): void {
    this.expect(term >= run.term, 9, `member ${id}'s term went from ${run.term} to ${term}`);
    this.expect(commit >= run.commit, 9, `member ${id}'s commit went from ${run.commit} to ${commit}`);
    this.expect(applied >= run.applied, 9, `member ${id}'s applied went from ${run.applied} to ${applied}`);
    run.commit = commit;
    run.applied = applied;
  }

  private bounds(id: number, { inside, storage, received }: Run, applied: number): void {
    const { raft } = inside;
    const compacted = storage.firstIndex() - 1;
    const snapshot = storage.snapshots()[0]?.index ?? 0;
    const { committed } = raft.log;
    const fits =
      compacted <= snapshot &&
      (snapshot <= applied || snapshot <= received) &&
      applied <= committed &&
      committed <= raft.log.lastIndex() &&
      raft.log.applied <= committed;
    if (fits) return;
    const what = `compacted ${compacted}, snapshot ${snapshot}, applied ${applied}, committed ${committed}`;
    this.violated(10, `member ${id}: ${what}, last ${raft.log.lastIndex()}`);
  }

  private leads(term: number, id: number): void {
    const known = this.leaders.get(term);
    if (known === undefined) this.leaders.set(term, id);
    else if (known !== id) this.violated(1, `term ${term} has leaders ${known} and ${id}`);
  }

  private elected(id: number, { inside, counted }: Run): void {
    const { raft } = inside;
    counted.last = 0;
    const { log } = raft;
    this.leads(raft.term, id);
    for (let index = log.firstIndex(); index <= this.lastCommitted; index++) {
      const known = this.history[index] as Committed;
      // One may win an old term late, when a later one commits already.
      if (known.inTerm >= raft.term) break;
      const term = log.term(index);
      const what = `leader ${id} of term ${raft.term} has ${index} of term ${term}; committed was ${known.term}`;
      this.expect(term === known.term, 4, what);
    }
  }

  private oneChangeAtATime(id: number, { inside, counted }: Run): void {
    const { log } = inside.raft;
    if (log.lastIndex() === counted.last && log.committed === counted.committed) return;
    counted.last = log.lastIndex();
    counted.committed = log.committed;
    const first = Math.max(this.lastCommitted + 1, log.firstIndex());
    let changes = 0;
    if (first <= log.lastIndex()) {
      log.some(first, log.lastIndex() + 1, ({ type }) => {
        if (type !== "EntryNormal") changes++;
        return false;
      });
    }
    this.expect(changes <= 1, 12, `leader ${id} has ${changes} membership changes uncommitted`);
  }

  private appendSent({ term: leaderTerm, index, logTerm, entries }: Message): void {
    let previousTerm = logTerm;
    this.leaderHas(leaderTerm, index, logTerm);
    for (const entry of entries) {
      this.leaderHas(leaderTerm, entry.index, entry.term);
      const key = place(entry.index, entry.term);
      const checksum = checksumOf(entry);
      const known = this.entries.get(key);
      if (known === undefined) this.entries.set(key, { term: entry.term, checksum, previousTerm });
      else {
        const same = known.checksum === checksum && known.previousTerm === previousTerm;
        this.expect(same, 3, `two entries, or two logs before it, at ${entry.index} of term ${entry.term}`);
      }
      previousTerm = entry.term;
    }
  }

  private leaderHas(leaderTerm: number, index: number, term: number): void {
    const key = place(index, leaderTerm);
    const known = this.leaderTerms.get(key);
    if (known === undefined) this.leaderTerms.set(key, term);
    else if (known !== term) this.violated(2, `the leader of term ${leaderTerm} replaced its entry ${index}`);
  }

  private newestDisk(id: number): SimulatedDisk {
    return (this.disks.get(id) as SimulatedDisk[]).at(-1) as SimulatedDisk;
  }

  private voteSent(from: number, m: Message): void {
    const { term, vote } = this.newestDisk(from).durableState();
    const durable = term > m.term || (term === m.term && vote === m.to);
    this.expect(durable, 8, `member ${from} grants ${m.to} term ${m.term}; on disk is term ${term}, vote ${vote}`);
  }

  private acknowledged(from: number, m: Message): void {
    const disk = this.newestDisk(from);
    const { term } = disk.durableState();
    this.expect(term >= m.term, 8, `member ${from} acknowledges in term ${m.term}; on disk is term ${term}`);
    // In a later term it may hold something else by now: its vote there was given with this entry in its log.
    if (term > m.term || m.index === 0) return;
    const held = disk.durableTerm(m.index);
    const leaders = this.leaderTerms.get(place(m.index, m.term));
    const same = held === "compacted" || leaders === undefined || held === leaders;
    this.expect(
      held !== undefined && same,
      8,
      `member ${from} acknowledges ${m.index} in term ${m.term}, which is not on its disk`,
    );
  }

  private committed(id: number, entries: readonly Entry[], inTerm: number): void {
    for (const entry of entries) {
      const { index, term } = entry;
      const checksum = checksumOf(entry);
      const known = this.history[index];
      if (known === undefined) {
        this.expect(index === this.lastCommitted + 1, 5, `${index} is committed after ${this.lastCommitted}`);
        this.history[index] = { term, checksum, inTerm };
        this.lastCommitted = index;
        this.replay.take(entry);
      } else if (known.term !== term || known.checksum !== checksum) {
        this.violated(6, `member ${id} has ${index} of term ${term} committed, others of term ${known.term}`);
      }
    }
  }

  private quorumReached(id: number, index: number, config: Configuration, term: number): void {
    const holds = (voter: number): boolean =>
      (this.disks.get(voter) ?? []).some((disk) => {
        const held = disk.durableTerm(index);
        return held === "compacted" || held === term;
      });
    for (const half of [config.incoming, config.outgoing]) {
      const copies = [...half].filter(holds).length;
      const durable = half.size === 0 || copies > half.size / 2;
      this.expect(
        durable,
        7,
        `leader ${id} commits ${index} of term ${term}; ${copies} of ${half.size} have it on disk`,
      );
    }
  }

  private configured(id: number, index: number, confState: ConfState): void {
    const known = this.configurations.find((one) => one.index === index);
    if (known !== undefined) {
      const same = describeConfState(known.confState) === describeConfState(confState);
      this.expect(same, 12, `member ${id} has another configuration at ${index} than others`);
      return;
    }
    const before = this.configurations.at(-1) as { index: number; confState: ConfState };
    this.expect(before.index < index, 12, `the configuration of ${index} comes after that of ${before.index}`);
    this.quorumsMeet(before.confState, confState);
    this.configurations.push({ index, confState });
  }

  private quorumsMeet(a: ConfState, b: ConfState): void {
    const key = `${describeConfState(a)}, ${describeConfState(b)}`;
    if (this.intersecting.has(key)) return;
    this.intersecting.add(key);
    const ids = [...new Set([a, b].flatMap(({ voters, votersOutgoing }) => [...voters, ...votersOutgoing]))];
    const quorum = (set: number, { voters, votersOutgoing }: ConfState): boolean =>
      [voters, votersOutgoing].every((half) => {
        const present = half.filter((id) => (set >> ids.indexOf(id)) & 1).length;
        return half.length === 0 || present > half.length / 2;
      });
    const all = 2 ** ids.length - 1;
    for (let set = 0; set <= all; set++) {
      const apart = quorum(set, a) && quorum(all & ~set, b);
      this.expect(!apart, 12, `successive configurations have quorums apart: ${key}`);
    }
  }

  /** Passes a snapshot on, and compares it with the replay when all of it went by. */
  private async *inspected(
    id: number,
    metadata: SnapshotMetadata,
    chunks: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array, void, void> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) {
      parts.push(chunk);
      yield chunk;
    }
    const { index, confState } = metadata;
    this.expect(index <= this.lastCommitted, 13, `member ${id} has a snapshot at ${index}, beyond what is committed`);
    const { head, body } = await splitHead(once(Buffer.concat(parts)));
    const state: Uint8Array[] = [];
    for await (const chunk of body) state.push(chunk);
    const image = head.genesis ? "[]" : Buffer.concat(state).toString();
    this.expect(image === this.replay.image(index), 13, `member ${id}'s snapshot at ${index} is not the state there`);
    const sessions = describeSessions(head.sessions);
    this.expect(
      sessions === this.replay.sessionsAt(index),
      13,
      `member ${id}'s snapshot at ${index} has other sessions`,
    );
    const same = describeConfState(confState) === describeConfState(this.configurationAt(index));
    this.expect(same, 12, `member ${id}'s snapshot at ${index} carries another configuration than that at its index`);
    const term = this.history[index]?.term;
    this.expect(
      metadata.term === term,
      13,
      `member ${id}'s snapshot at ${index} is of term ${metadata.term}, not ${term}`,
    );
  }
}

function checksumOf(entry: Entry): number {
  return encodeEntry(entry).readUInt32LE(0);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}
