/** What a membership change carries beside its ids, as JSON in its entry: who waits for it, and members' addresses. */
import { decodeConfChange, type AnyConfChange, type Entry } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { Member } from "../transport/transport.ts";
import type { Ticket } from "./envelope.ts";

export interface ChangeContext {
  readonly ticket: Ticket;
  readonly members: readonly Member[];
}

export interface Change {
  readonly change: AnyConfChange;
  /** Raft's own change that leaves a joint configuration has none. */
  readonly context: ChangeContext | undefined;
}

export function writeContext(context: ChangeContext): Uint8Array {
  return Buffer.from(JSON.stringify(context));
}

/** The change in an entry; `undefined` if the entry can't be read, which changes nothing on any member. */
export function readChange(entry: Entry): Change | undefined {
  try {
    const change = decodeConfChange(entry);
    return { change, context: readContext(change.context) };
  } catch (error) {
    if (!RaftError.is(error, "RAFT_CONF_CHANGE_INVALID")) throw error;
    return undefined;
  }
}

/** Of what is not as it should be, nothing is taken. */
function readContext(bytes: Uint8Array = new Uint8Array(0)): ChangeContext | undefined {
  let found: Partial<Record<keyof ChangeContext, unknown>> | null;
  try {
    found = JSON.parse(Buffer.from(bytes).toString()) as typeof found;
  } catch {
    return undefined;
  }
  const ticket = found?.ticket as Partial<Ticket> | null | undefined;
  if (typeof ticket !== "object" || ticket === null) return undefined;
  const { origin = 0, boot = 0, sequence = 0 } = ticket;
  const members = Array.isArray(found?.members)
    ? (found.members as unknown[]).filter(isMember).filter(({ id }) => Number.isSafeInteger(id))
    : [];
  return { ticket: { origin, boot, sequence }, members };
}

export function isMember(value: unknown): value is Member {
  if (typeof value !== "object" || value === null) return false;
  const { id, address } = value as Partial<Member>;
  return typeof id === "number" && typeof address === "string";
}

export function changeRefused(why: string): RaftError {
  return new RaftError({ code: "RAFT_MEMBERSHIP_REFUSED", why }, `membership change refused: ${why}`);
}
