import type { NodeCondition } from "@warren/api";
import { Changes, type Clock, type Logger } from "@warren/std";

/** Something that is not as it should be on this node, as `NodeCondition` has it. */
export interface Condition {
  readonly code: string;
  /** Which of its code. @default there is one */
  readonly subject?: string;
  readonly message: string;
  readonly remedy: string;
  /** One that mends it or shows its cause, to be run on the node as it stands. @default none */
  readonly command?: string;
  /** Services that it concerns. @default none */
  readonly serviceIds?: readonly string[];
  /** It concerns every task of the node. @default false */
  readonly everyTask?: boolean;
}

/** Conditions that a manager takes of one node, and the most that it takes of each of their parts. */
const most = 64;
const mostCharacters = 1_000;
const mostServices = 64;

/**
 * What is not as it should be on this node, by the part of the worker that noticed it. Managers hear of each change, and
 * of all of it at the start of a session.
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

  /** All that `source` has noticed and that holds now. One that held before keeps the time since when it has. */
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

  /** As many as a manager takes. */
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
