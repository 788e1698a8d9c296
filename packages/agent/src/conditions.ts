import type { NodeCondition } from "@warren/api";
import { Changes, type Clock, type Logger } from "@warren/std";

/** A fault of this node: see `NodeCondition` in `proto/`. */
export interface Condition {
  readonly code: string;
  /** Distinguishes conditions of one code. @default "" */
  readonly subject?: string;
  readonly message: string;
  /** What the operator should do. */
  readonly remedy: string;
  /** One that mends it or shows its cause, to be run on the node as it stands. @default none */
  readonly command?: string;
  /** Services that it concerns. @default none */
  readonly serviceIds?: readonly string[];
  /** It concerns every task of the node. @default false */
  readonly everyTask?: boolean;
}

/** The manager's limits: conditions of a node, characters of a text, services of a condition. */
const most = 64;
const mostCharacters = 1_000;
const mostServices = 64;

/**
 * The conditions of this node, by the part of the worker that reports them. They are sent to managers at the start of a
 * session and after each change.
 */
export class NodeConditions {
  readonly changes: Changes = new Changes();
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #bySource = new Map<string, readonly NodeCondition[]>();

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Replaces all conditions of `source`. One that was there before keeps its `since`. */
  set(source: string, conditions: readonly Condition[]): void {
    const before = new Map((this.#bySource.get(source) ?? []).map((each) => [keyOf(each), each]));
    const now = new Date(this.#clock.now());
    const next = conditions.map((condition) => {
      const known = before.get(keyOf(condition));
      if (known === undefined) this.#log.warn("the node has a condition", { ...condition });
      return filled(condition, known?.since ?? now);
    });
    const there = new Set(next.map(keyOf));
    for (const [key, { code, subject }] of before)
      if (!there.has(key)) this.#log.info("a condition of the node has ended", { code, subject });
    if (JSON.stringify(next) === JSON.stringify([...before.values()])) return;
    this.#bySource.set(source, next);
    this.changes.notify();
  }

  /** All conditions, up to the manager's limit. */
  all(): NodeCondition[] {
    return [...this.#bySource.values()].flat().slice(0, most);
  }
}

function keyOf({ code, subject = "" }: Pick<Condition, "code" | "subject">): string {
  return `${code} ${subject}`;
}

function filled(condition: Condition, since: Date): NodeCondition {
  const { code, subject = "", message, remedy, command = "", serviceIds = [], everyTask = false } = condition;
  const cut = (text: string): string => text.slice(0, mostCharacters);
  return {
    code,
    subject,
    message: cut(message),
    remedy: cut(remedy),
    // A part of a command is none.
    command: command.length > mostCharacters ? "" : command,
    serviceIds: serviceIds.slice(0, mostServices),
    everyTask,
    since,
  };
}
