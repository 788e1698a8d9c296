/** The apply thread: committed entries into the state machine, sessions and configuration, in order. */
import type { Clock } from "@warren/std";

import { type AnyConfChange, type ConfState, type Entry, type Message, type SnapshotMetadata } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import { changeRefused, readChange } from "./change-context.ts";
import type { RaftStorage } from "../storage/index.ts";
import type { Member } from "../transport/transport.ts";
import { decodeProposal, type Proposal, type Ticket } from "./envelope.ts";
import type { Applied } from "./proposals.ts";
import { Sessions } from "./sessions.ts";
import { nothing, splitHead, withHead, type SnapshotHead } from "./snapshot-head.ts";
import type { Command, Result, StateMachine } from "./state-machine.ts";

export interface ApplierHooks {
  /** Makes a change the active configuration, or returns why it can't be. */
  reconfigure(change: AnyConfChange): ConfState | string;
  confState(): ConfState;
  /** The change in the entry at `index` was applied, or is nothing. */
  configured(index: number): void;
  membersChanged(members: readonly Member[], removed: readonly number[]): void;
  settle(ticket: Ticket, outcome: Applied | RaftError): void;
  deliver(responses: readonly Message[]): void;
  /** Entries up to `index` are applied, and no other is being applied. */
  applied(index: number): void;
  fail(error: unknown): void;
}

interface Admitted {
  readonly command: Command;
  readonly ticket: Ticket;
  readonly session: { readonly id: number; readonly number: number } | undefined;
}

export class Applier {
  /** Index and term of the last entry that is applied. */
  index = 0;
  term = 0;
  members: ReadonlyMap<number, Member> = new Map();
  /** The state is being replaced by a snapshot's. */
  restoring = false;
  readonly sessions: Sessions = new Sessions();
  private readonly fsm: StateMachine;
  private readonly clock: Clock;
  private readonly hooks: ApplierHooks;
  /** The head of the snapshot that was restored last: fields that a newer program put there go into the next. */
  private unknownFields: Partial<SnapshotHead> = {};
  private readonly changed: { readonly ticket: Ticket; readonly index: number }[] = [];
  private queue: Message[] = [];
  private running: Promise<void> | undefined;
  private sinceMs: number | undefined;

  constructor(fsm: StateMachine, clock: Clock, hooks: ApplierHooks) {
    this.fsm = fsm;
    this.clock = clock;
    this.hooks = hooks;
  }

  push(m: Message): void {
    this.queue.push(m);
    this.running ??= this.run();
  }

  get busy(): boolean {
    return this.sinceMs !== undefined;
  }

  /** How long the application in progress has taken, ms; 0 if none is. */
  busyMs(): number {
    return this.sinceMs === undefined ? 0 : this.clock.monotonic() - this.sinceMs;
  }

  async idle(): Promise<void> {
    await this.running;
  }

  /** The state and all that goes with it, as of now; only from `hooks.applied`. */
  image(): { readonly metadata: SnapshotMetadata; readonly chunks: AsyncIterable<Uint8Array> } {
    const members = [...this.members.values()];
    const known = { level: 1, members, sessions: this.sessions.image(), genesis: false };
    const head: SnapshotHead = { ...this.unknownFields, ...known };
    const metadata = { index: this.index, term: this.term, confState: this.hooks.confState() };
    return { metadata, chunks: withHead(head, this.fsm.snapshot()) };
  }

  /** Replaces the state by a stored snapshot's. */
  async restore(storage: RaftStorage, index: number): Promise<void> {
    await this.idle();
    this.restoring = true;
    try {
      await this.restoreNow(storage, index);
    } finally {
      this.restoring = false;
    }
  }

  private async restoreNow(storage: RaftStorage, index: number): Promise<void> {
    const { metadata, chunks } = storage.openSnapshot(index);
    const { head, body } = await splitHead(chunks);
    if (head.genesis) for await (const chunk of body) void chunk;
    else await this.fsm.restore(body);
    this.sessions.restore(head.sessions);
    this.members = new Map(head.members.map((member) => [member.id, member]));
    this.unknownFields = head;
    this.index = metadata.index;
    this.term = metadata.term;
    this.hooks.membersChanged(head.members, []);
  }

  private async run(): Promise<void> {
    try {
      for (let m = this.queue.shift(); m !== undefined; m = this.queue.shift()) {
        this.sinceMs = this.clock.monotonic();
        await this.applyAll(m.entries);
        this.sinceMs = undefined;
        this.hooks.deliver(m.responses);
        // Only now does the core take the next change.
        for (const { ticket, index } of this.changed.splice(0)) this.hooks.settle(ticket, { index, result: undefined });
        this.hooks.applied(this.index);
      }
    } catch (cause) {
      this.queue = [];
      const text = "applying a committed entry failed, so this member stops; mend the state machine and start again";
      this.hooks.fail(RaftError.is(cause) ? cause : new RaftError({ code: "RAFT_FSM_FAILED" }, text, { cause }));
    } finally {
      this.running = undefined;
      this.sinceMs = undefined;
    }
  }

  private async applyAll(entries: readonly Entry[]): Promise<void> {
    let batch: Admitted[] = [];
    const flush = async (): Promise<void> => {
      if (batch.length === 0) return;
      const full = batch;
      batch = [];
      await this.applyBatch(full);
    };
    for (const entry of entries) {
      if (entry.type !== "EntryNormal") {
        await flush();
        this.applyChange(entry);
        this.hooks.configured(entry.index);
      } else if (entry.data.length > 0) {
        const decoded = decodeProposal(entry.data);
        if (decoded === undefined) continue;
        const { ticket, proposal } = decoded;
        // Two of one session may be the same command: the first one's result is recorded before the second is looked up.
        if (proposal.kind !== "command") await flush();
        const admitted = this.admit(entry, ticket, proposal);
        if (admitted !== undefined) batch.push(admitted);
      }
    }
    await flush();
    const last = entries.at(-1);
    if (last === undefined) return;
    this.index = last.index;
    this.term = last.term;
  }

  /** What the state machine is to apply of a proposal, if anything. */
  private admit({ index, term }: Entry, ticket: Ticket, proposal: Proposal): Admitted | undefined {
    switch (proposal.kind) {
      case "command":
        return { command: { index, term, data: proposal.data }, ticket, session: undefined };
      case "register":
        this.sessions.register(index, proposal.ttlMs);
        this.hooks.settle(ticket, { index, result: undefined });
        return undefined;
      case "clock":
        this.sessions.advance(proposal.elapsedMs);
        this.hooks.settle(ticket, { index, result: undefined });
        return undefined;
      case "session": {
        const { session: id, number, acknowledged, data } = proposal;
        const found = this.sessions.look(id, number, acknowledged);
        if (found.kind === "new") return { command: { index, term, data }, ticket, session: { id, number } };
        this.hooks.settle(ticket, found.kind === "known" ? { index, result: found.result } : sessionUnknown(id));
        return undefined;
      }
    }
  }

  private async applyBatch(batch: readonly Admitted[]): Promise<void> {
    const results = await this.fsm.apply(batch.map(({ command }) => command));
    batch.forEach(({ command, ticket, session }, at) => {
      const result: Result = results[at];
      if (session !== undefined) this.sessions.record(session.id, session.number, result);
      this.hooks.settle(ticket, { index: command.index, result });
    });
  }

  /** A change that can't be read or can't follow the configuration changes nothing, here as everywhere. */
  private applyChange(entry: Entry): void {
    const read = readChange(entry);
    if (read === undefined) return;
    const { change, context } = read;
    const confState = this.hooks.reconfigure(change);
    if (typeof confState === "string") {
      if (context !== undefined) this.hooks.settle(context.ticket, changeRefused(confState));
      return;
    }
    const members = new Map(this.members);
    for (const member of context?.members ?? []) members.set(member.id, member);
    const present = new Set([confState.voters, confState.learners, confState.votersOutgoing].flat());
    const removed = [...members.keys()].filter((id) => !present.has(id));
    for (const id of removed) members.delete(id);
    this.members = members;
    this.hooks.membersChanged([...members.values()], removed);
    if (context !== undefined) this.changed.push({ ticket: context.ticket, index: entry.index });
  }
}

/** The first snapshot of a new cluster: its members, and no state. */
export function genesis(members: readonly Member[]): AsyncIterable<Uint8Array> {
  return withHead({ level: 1, members, sessions: new Sessions().image(), genesis: true }, nothing());
}

function sessionUnknown(session: number): RaftError {
  return new RaftError(
    { code: "RAFT_SESSION_UNKNOWN", session },
    `session ${session} is not known: it expired, or this number was acknowledged; open another and read before you retry`,
  );
}
