/**
 * Which runs a lease's restart policy allows, counted from the containers that a bystander sees start and end: waits and
 * attempts are to be what these say, whatever happened to worker, managers and wall clock meanwhile.
 */
import { RestartPolicy_Condition as Condition, type RestartPolicy } from "@warren/api";

/** A moment of a machine. */
export interface Moment {
  readonly bootId: string;
  readonly elapsedMs: number;
}

/** One lease, as its containers showed it. */
interface Seen {
  readonly policy: RestartPolicy | undefined;
  /** By itself, since the lease's last run that its machine ended. */
  ended: (Moment & { readonly code: number }) | undefined;
  /** Restarts in the present window, and since when it lasts. */
  restarts: number;
  windowSince: Moment | undefined;
  /** The record of it may say otherwise: it was lost, came from another node, or its policy has changed. */
  inexact: boolean;
}

/** What the record of a lease goes on from. */
export type Origin =
  | { readonly kind: "none" }
  /** The last that was held, which its node has released; and the restarts that the lease was held with. */
  | { readonly kind: "lease"; readonly key: string; readonly restarts: number }
  | { readonly kind: "unknown" };

/** Boot times are floored, and an end is noticed a little after it came. */
const slackMs = 5;

export class Restarts {
  readonly #leases = new Map<string, Seen>();
  readonly #broken: (what: string) => void;
  /** Restarts that were judged. */
  judged = 0;
  /** Moves of which the counts were compared. */
  moved = 0;

  constructor(broken: (what: string) => void) {
    this.#broken = broken;
  }

  onHeld(key: string, policy: RestartPolicy | undefined, origin: Origin): void {
    if (this.#leases.has(key)) return;
    const restarts = origin.kind === "lease" ? this.#continued(key, policy, origin) : 0;
    this.#leases.set(key, {
      policy,
      ended: undefined,
      restarts: restarts ?? 0,
      windowSince: undefined,
      inexact: origin.kind === "unknown" || restarts === undefined,
    });
  }

  /** L9: the restarts that a lease is to be held with; undefined where that is not exactly known. */
  #continued(
    key: string,
    policy: RestartPolicy | undefined,
    { key: from, restarts }: Extract<Origin, { readonly kind: "lease" }>,
  ): number | undefined {
    const seen = this.#leases.get(from);
    // Of a window its length goes with the slot, which nobody sees from outside.
    if (seen === undefined || seen.inexact || (policy?.windowMs ?? 0) > 0) return undefined;
    if (JSON.stringify(seen.policy) !== JSON.stringify(policy)) return undefined;
    this.judged += 1;
    this.moved += 1;
    // An end that was followed by no start may have counted already, or have been the stop.
    const most = seen.restarts + (seen.ended === undefined ? 0 : 1);
    if (restarts < seen.restarts || restarts > most)
      this.#broken(`L9: ${key} is held with ${restarts} restarts, and ${from} before it had ${seen.restarts}`);
    return restarts;
  }

  /** What is judged by other rules from now on. */
  onOtherPolicy(key: string, policy: RestartPolicy | undefined): void {
    const seen = this.#leases.get(key);
    if (seen !== undefined && JSON.stringify(seen.policy) !== JSON.stringify(policy)) seen.inexact = true;
  }

  forget(key: string): void {
    const seen = this.#leases.get(key);
    if (seen !== undefined) seen.inexact = true;
  }

  onExit(key: string, code: number, at: Moment): void {
    const seen = this.#leases.get(key);
    if (seen !== undefined) seen.ended = { ...at, code };
  }

  /** A further run of the lease, or its first, starts. */
  onStart(key: string, at: Moment): void {
    const seen = this.#leases.get(key);
    if (seen?.ended === undefined) return;
    const { ended, policy, inexact } = seen;
    seen.ended = undefined;
    if (inexact) return;
    const { condition = Condition.ANY, delayMs = 5_000, maxAttempts = 0, windowMs = 0 } = policy ?? {};
    this.judged += 1;
    const sameBoot = ended.bootId === at.bootId;
    const waitedMs = at.elapsedMs - ended.elapsedMs;
    if (sameBoot && waitedMs < delayMs - slackMs)
      this.#broken(`L7: ${key} is run again after ${waitedMs} ms, and its policy says ${delayMs}`);
    if (condition === Condition.NONE) this.#broken(`${key} is run again, and its policy is none`);
    if (condition === Condition.ON_FAILURE && ended.code === 0) this.#broken(`${key} is run again, and has completed`);
    const since = seen.windowSince;
    // Of a window a reboot may lose what was not yet recorded, so that only one boot is exact.
    if (since !== undefined && since.bootId !== ended.bootId) seen.inexact = true;
    const isOver = windowMs > 0 && since !== undefined && ended.elapsedMs - since.elapsedMs >= windowMs - slackMs;
    if (seen.restarts === 0 || isOver) {
      seen.restarts = 1;
      seen.windowSince = ended;
      return;
    }
    if (maxAttempts > 0 && seen.restarts >= maxAttempts && !seen.inexact)
      this.#broken(`L7: ${key} is run again after ${seen.restarts} restarts, and its policy allows ${maxAttempts}`);
    seen.restarts += 1;
  }

  /** The worker has said that the lease's policy allows no further attempt. */
  onAttemptsUsedUp(key: string): void {
    const seen = this.#leases.get(key);
    if (seen === undefined || seen.inexact) return;
    this.judged += 1;
    const { maxAttempts = 0 } = seen.policy ?? {};
    if (seen.restarts !== maxAttempts)
      this.#broken(`L7: ${key} was restarted ${seen.restarts} times, and is settled as if ${maxAttempts} times`);
  }
}
