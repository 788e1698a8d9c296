import type { Clock } from "@warren/std";
import type { Answer } from "./cached-answer.ts";

/** Bytes that an entry takes beside its message and key: objects, a typed array, a place in the map. */
const entryOverheadBytes = 400;

export interface CachedAnswer {
  readonly answer: Answer;
  /** Whole seconds since the answer came. */
  readonly ageSeconds: number;
  readonly fresh: boolean;
}

interface Entry {
  readonly answer: Answer;
  readonly atMs: number;
  readonly bytes: number;
}

/** Answers by question, bounded in bytes; the least recently used go first. Expired ones stay for `staleSeconds`. */
export class AnswerCache {
  readonly #clock: Clock;
  readonly #limitBytes: number;
  readonly #staleSeconds: number;
  /** In the order of use. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(clock: Clock, limitBytes: number, staleSeconds: number) {
    this.#clock = clock;
    this.#limitBytes = limitBytes;
    this.#staleSeconds = staleSeconds;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): CachedAnswer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const ageSeconds = Math.floor((this.#clock.monotonic() - entry.atMs) / 1_000);
    const fresh = ageSeconds < entry.answer.ttlSeconds;
    this.#entries.delete(key);
    if (!fresh && ageSeconds >= entry.answer.ttlSeconds + this.#staleSeconds) {
      this.#bytes -= entry.bytes;
      return undefined;
    }
    this.#entries.set(key, entry);
    return { answer: entry.answer, ageSeconds, fresh };
  }

  /** Keeps an answer, unless its TTL is 0. */
  put(key: string, answer: Answer): void {
    const bytes = entryOverheadBytes + key.length + answer.bytes.length + answer.ttls.byteLength;
    if (answer.ttlSeconds === 0 || bytes > this.#limitBytes) return;
    this.#bytes += bytes - (this.#entries.get(key)?.bytes ?? 0);
    this.#entries.delete(key);
    this.#entries.set(key, { answer, atMs: this.#clock.monotonic(), bytes });
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#limitBytes) break;
      this.#entries.delete(oldest);
      this.#bytes -= entry.bytes;
    }
  }
}
