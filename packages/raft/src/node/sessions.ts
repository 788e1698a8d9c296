/**
 * Client sessions: a command with a number is applied once however often it is proposed. Part of the replicated state:
 * changed only by the log, so equal on every member; time is what the log says it is.
 */
import { RaftError } from "../errors.ts";
import type { Result } from "./state-machine.ts";

/** Results that a session holds; beyond them the oldest counts as acknowledged, so that a careless client costs no more. */
const maxResults = 1_024;

/** Sessions that are open at once; beyond them the one that was unused for longest ends. */
const maxSessions = 10_000;

interface Session {
  /** Of a snapshot's session: fields that a newer program put there. */
  readonly unknownFields?: object;
  readonly ttlMs: number;
  usedMs: number;
  /** Results up to here are forgotten: the client has them. */
  acknowledged: number;
  readonly results: Map<number, Result>;
}

export interface SessionsImage {
  readonly nowMs: number;
  readonly sessions: readonly {
    readonly id: number;
    readonly ttlMs: number;
    readonly usedMs: number;
    readonly acknowledged: number;
    readonly results: readonly (readonly [number, string | null])[];
  }[];
}

export type Lookup =
  | { readonly kind: "new" }
  | { readonly kind: "known"; readonly result: Result }
  /** Expired, never registered, or the number was acknowledged. */
  | { readonly kind: "unknown" };

export class Sessions {
  private nowMs = 0;
  private unknownFields: object = {};
  private table = new Map<number, Session>();

  get size(): number {
    return this.table.size;
  }

  /** A session's id is the index of the entry that registered it. */
  register(id: number, ttlMs: number): void {
    this.table.set(id, { ttlMs, usedMs: this.nowMs, acknowledged: 0, results: new Map() });
    if (this.table.size <= maxSessions) return;
    let idlest: [id: number, usedMs: number] | undefined;
    for (const [one, { usedMs }] of this.table) if (idlest === undefined || usedMs < idlest[1]) idlest = [one, usedMs];
    if (idlest !== undefined) this.table.delete(idlest[0]);
  }

  look(id: number, number: number, acknowledged: number): Lookup {
    const session = this.table.get(id);
    if (session === undefined) return { kind: "unknown" };
    session.usedMs = this.nowMs;
    for (const held of session.results.keys()) if (held <= acknowledged) session.results.delete(held);
    session.acknowledged = Math.max(session.acknowledged, acknowledged);
    if (session.results.has(number)) return { kind: "known", result: session.results.get(number) };
    return number <= session.acknowledged ? { kind: "unknown" } : { kind: "new" };
  }

  record(id: number, number: number, result: Result): void {
    const session = this.table.get(id);
    if (session === undefined) return;
    session.results.set(number, result);
    if (session.results.size <= maxResults) return;
    const [oldest = 0] = session.results.keys();
    session.results.delete(oldest);
    session.acknowledged = Math.max(session.acknowledged, oldest);
  }

  /** The log's clock moves; sessions unused for their time end. */
  advance(elapsedMs: number): void {
    this.nowMs += elapsedMs;
    for (const [id, { usedMs, ttlMs }] of this.table) if (this.nowMs - usedMs > ttlMs) this.table.delete(id);
  }

  image(): SessionsImage {
    const sessions = [...this.table].map(([id, { unknownFields, ttlMs, usedMs, acknowledged, results }]) => ({
      ...unknownFields,
      id,
      ttlMs,
      usedMs,
      acknowledged,
      results: [...results].map(
        ([number, result]) => [number, result === undefined ? null : Buffer.from(result).toString("base64")] as const,
      ),
    }));
    return { ...this.unknownFields, nowMs: this.nowMs, sessions };
  }

  restore(image: SessionsImage): void {
    const { nowMs, sessions, ...unknown } = image;
    this.nowMs = nowMs;
    this.unknownFields = unknown;
    this.table = new Map(
      sessions.map(({ id, ttlMs, usedMs, acknowledged, results, ...unknownFields }) => {
        const decoded = results.map(
          ([number, text]) => [number, text === null ? undefined : Buffer.from(text, "base64")] as const,
        );
        return [id, { unknownFields, ttlMs, usedMs, acknowledged, results: new Map(decoded) }];
      }),
    );
  }
}

/** What is wrong with the numbers of a command in a session; they stay in the log for good. */
export function sessionProblem(session: number, number: number, acknowledged: number): RaftError | undefined {
  const whole = (value: number, least: number): boolean => Number.isSafeInteger(value) && value >= least;
  const wrong = !whole(session, 1)
    ? `session ${String(session)} was opened by nobody`
    : !whole(number, 1)
      ? `the number ${String(number)} is not a whole one from 1 on`
      : !whole(acknowledged, 0) || acknowledged >= number
        ? `results up to ${String(acknowledged)} can't be acknowledged by command ${number}`
        : undefined;
  if (wrong === undefined) return undefined;
  return new RaftError({ code: "RAFT_ARGUMENT_INVALID", argument: "session" }, `the command is refused: ${wrong}`);
}
