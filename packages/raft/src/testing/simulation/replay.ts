/** The state after each committed entry, computed apart from the members, which are compared with it. */
import type { Entry } from "../../core/index.ts";
import { decodeProposal } from "../../node/envelope.ts";
import type { SessionsImage } from "../../node/sessions.ts";
import { decodeAction, imageOf, perform } from "./machine.ts";

interface ModelSession {
  readonly ttlMs: number;
  usedMs: number;
  acknowledged: number;
  readonly results: Map<number, string>;
}

export class Replay {
  /** Indexes whose entries the state machine is given, ascending. */
  readonly applications: number[] = [];
  private readonly state = new Map<string, string>();
  private readonly sessions = new Map<number, ModelSession>();
  private nowMs = 0;
  private readonly results = new Map<number, string>();
  private readonly images: string[] = [];
  private readonly sessionImages: string[] = [];
  /** Of the state and the sessions as they are; made again once they have changed. */
  private lastImage: string | undefined;
  private lastSessionImage: string | undefined;

  /** Takes the entry after the last one taken. */
  take(entry: Entry): void {
    if (entry.type === "EntryNormal" && entry.data.length > 0) this.takeProposal(entry);
    this.images[entry.index] = this.lastImage ??= imageOf(this.state);
    this.sessionImages[entry.index] = this.lastSessionImage ??= this.sessionImage();
  }

  result(index: number): string | undefined {
    return this.results.get(index);
  }

  image(index: number): string {
    return this.images[index] ?? "[]";
  }

  /** The sessions after `index`, in the form of `describeSessions`. */
  sessionsAt(index: number): string {
    return this.sessionImages[index] ?? "0";
  }

  private takeProposal({ index, data }: Entry): void {
    const proposal = decodeProposal(data)?.proposal;
    if (proposal === undefined) return;
    if (proposal.kind !== "command") this.lastSessionImage = undefined;
    switch (proposal.kind) {
      case "command":
        this.apply(index, proposal.data);
        return;
      case "register":
        this.sessions.set(index, { ttlMs: proposal.ttlMs, usedMs: this.nowMs, acknowledged: 0, results: new Map() });
        return;
      case "clock":
        this.nowMs += proposal.elapsedMs;
        for (const [id, { usedMs, ttlMs }] of this.sessions) if (this.nowMs - usedMs > ttlMs) this.sessions.delete(id);
        return;
      case "session": {
        const session = this.sessions.get(proposal.session);
        if (session === undefined) return;
        session.usedMs = this.nowMs;
        session.acknowledged = Math.max(session.acknowledged, proposal.acknowledged);
        for (const number of session.results.keys()) {
          if (number <= session.acknowledged) session.results.delete(number);
        }
        if (session.results.has(proposal.number) || proposal.number <= session.acknowledged) return;
        session.results.set(proposal.number, this.apply(index, proposal.data));
      }
    }
  }

  private apply(index: number, data: Uint8Array): string {
    this.lastImage = undefined;
    const result = perform(this.state, decodeAction(data));
    this.results.set(index, result);
    this.applications.push(index);
    return result;
  }

  private sessionImage(): string {
    const sessions = [...this.sessions].map(([id, { ttlMs, usedMs, acknowledged, results }]) => ({
      id,
      ttlMs,
      usedMs,
      acknowledged,
      results: [...results],
    }));
    return describe(this.nowMs, sessions);
  }
}

/** A snapshot's sessions, to be compared. */
export function describeSessions({ nowMs, sessions }: SessionsImage): string {
  const decoded = sessions.map((session) => ({
    ...session,
    results: session.results.map(
      ([number, text]) => [number, text === null ? "" : Buffer.from(text, "base64").toString()] as const,
    ),
  }));
  return describe(nowMs, decoded);
}

interface Described {
  readonly id: number;
  readonly ttlMs: number;
  readonly usedMs: number;
  readonly acknowledged: number;
  readonly results: readonly (readonly [number, string])[];
}

function describe(nowMs: number, sessions: readonly Described[]): string {
  const lines = sessions.map(({ id, ttlMs, usedMs, acknowledged, results }) => {
    const held = [...results].sort(([a], [b]) => a - b).map(([number, result]) => `${number}=${result}`);
    return [id, ttlMs, usedMs, acknowledged, ...held].join(" ");
  });
  return [String(nowMs), ...lines.sort()].join("\n");
}
