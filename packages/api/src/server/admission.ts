import type { Clock } from "@warren/std";
import { ApiError } from "../errors.ts";
import type { Identity } from "../identity.ts";

export interface AdmissionOptions {
  /** Largest message that is accepted, bytes; a larger one is RESOURCE_EXHAUSTED. @default 4 MiB */
  readonly maxRequestBytes?: number;
  /** Calls under way of one caller from another machine. @default 1000 */
  readonly maxCallsPerIdentity?: number;
  /** Calls that one caller from another machine may begin each second, in the long run. @default 200 */
  readonly callsPerSecond?: number;
  /** Burst: calls that such a caller may begin at once after a pause. @default 1000 */
  readonly callsAtOnce?: number;
  /** Longest time of a call with one response, ms; its caller's deadline may be shorter. @default 60000 */
  readonly maxUnaryMs?: number;
  /** How long a caller from another machine may leave a response of a stream unread, ms. @default 600000 */
  readonly slowReaderMs?: number;
}

export const admissionDefaults: Required<AdmissionOptions> = {
  maxRequestBytes: 4 * 1024 * 1024,
  maxCallsPerIdentity: 1_000,
  callsPerSecond: 200,
  callsAtOnce: 1_000,
  maxUnaryMs: 60_000,
  slowReaderMs: 600_000,
};

/** A token bucket and the calls under way. */
interface Account {
  tokens: number;
  countedAtMs: number;
  open: number;
}

/** Number of callers past which idle ones are forgotten. */
const manyAccounts = 4_096;

/** Limits of size, rate and concurrency for each caller. */
export class Admission {
  readonly #clock: Clock;
  readonly #options: Required<AdmissionOptions>;
  readonly #accounts = new Map<string, Account>();

  constructor(clock: Clock, options: Required<AdmissionOptions>) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Counts a call until it is disposed. @throws ApiError `API_EXHAUSTED` */
  enter({ name }: Identity): Disposable {
    const { maxCallsPerIdentity, callsPerSecond } = this.#options;
    const account = this.#account(name);
    if (account.open >= maxCallsPerIdentity)
      throw exhausted(`${name} has ${account.open} calls under way, which is the most`, "end some of them first");
    if (account.tokens < 1)
      throw exhausted(`${name} calls more than ${callsPerSecond} times a second`, "call less often");
    account.tokens -= 1;
    account.open += 1;
    let left = false;
    return {
      [Symbol.dispose]() {
        if (!left) account.open -= 1;
        left = true;
      },
    };
  }

  /** @throws ApiError `API_EXHAUSTED` */
  checkSize(bytes: number): void {
    const { maxRequestBytes } = this.#options;
    if (bytes > maxRequestBytes)
      throw exhausted(`a message of ${bytes} bytes is more than ${maxRequestBytes}`, "send less in one message");
  }

  #account(name: string): Account {
    const { callsPerSecond, callsAtOnce } = this.#options;
    const nowMs = this.#clock.monotonic();
    let account = this.#accounts.get(name);
    if (account === undefined) {
      if (this.#accounts.size >= manyAccounts) this.#forgetQuiet(nowMs);
      account = { tokens: callsAtOnce, countedAtMs: nowMs, open: 0 };
      this.#accounts.set(name, account);
    }
    const earned = ((nowMs - account.countedAtMs) / 1_000) * callsPerSecond;
    account.tokens = Math.min(callsAtOnce, account.tokens + earned);
    account.countedAtMs = nowMs;
    return account;
  }

  /** Forgets callers without calls whose bucket is full again: they are like new ones. */
  #forgetQuiet(nowMs: number): void {
    const fullAfterMs = (this.#options.callsAtOnce / this.#options.callsPerSecond) * 1_000;
    for (const [name, { open, countedAtMs }] of this.#accounts)
      if (open === 0 && nowMs - countedAtMs >= fullAfterMs) this.#accounts.delete(name);
  }
}

function exhausted(message: string, remedy: string): ApiError {
  return new ApiError({ code: "API_EXHAUSTED" }, message, { remedy });
}
