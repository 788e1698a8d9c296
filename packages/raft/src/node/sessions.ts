/**
 * Client sessions: a command with a number is applied once however often it is proposed. Part of the replicated state:
 * changed only by the log, so equal on every member; time is what the log says it is.
 */
import type { Result } from "./state-machine.ts";

/** Results that a session holds; beyond them the oldest counts as acknowledged, so that a careless client costs no more. */
const maxResults = 1_024;

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
  }

  look(id: number, number: number, acknowledged: number): Lookup {
    const session = this.table.get(id);
    if (session === undefined) return { kind: "unknown" };
    session.usedMs = this.nowMs;
    for (let at = session.acknowledged + 1; at <= acknowledged && session.results.size > 0; at++) {
      session.results.delete(at);
    }
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
