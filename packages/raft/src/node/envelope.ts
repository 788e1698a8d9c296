/** What is around a proposal's bytes in the log: `kind u8 | origin f64 | boot u32 | sequence u32 | numbers f64… | data`. */
import { RaftError } from "../errors.ts";
import type { Message } from "../core/index.ts";
import { levels } from "../levels.ts";
import { asBuffer } from "../storage/record.ts";

/** Who waits for an entry: a member, one run of it, and its count of proposals. */
export interface Ticket {
  readonly origin: number;
  readonly boot: number;
  readonly sequence: number;
}

export type Proposal =
  | { readonly kind: "command"; readonly data: Uint8Array }
  | { readonly kind: "register"; readonly ttlMs: number }
  /** `acknowledged`: the client has the results up to it, so they may be forgotten. */
  | {
      readonly kind: "session";
      readonly session: number;
      readonly number: number;
      readonly acknowledged: number;
      readonly data: Uint8Array;
    }
  /** The leader's clock moved: what decides the expiry of sessions. */
  | { readonly kind: "clock"; readonly elapsedMs: number };

const kinds = ["command", "register", "session", "clock"] as const;
const mostNumbers = 3;
/** Numbers before a kind's data. */
const numberCounts: Readonly<Record<Proposal["kind"], number>> = { command: 0, register: 1, session: 3, clock: 1 };
const headBytes = 17;
const nothing = new Uint8Array(0);

export function encodeProposal(ticket: Ticket, proposal: Proposal): Uint8Array {
  const numbers = numbersOf(proposal);
  const data = "data" in proposal ? proposal.data : nothing;
  const bytes = Buffer.allocUnsafe(headBytes + numbers.length * 8 + data.length);
  bytes[0] = kinds.indexOf(proposal.kind);
  bytes.writeDoubleLE(ticket.origin, 1);
  bytes.writeUInt32LE(ticket.boot, 9);
  bytes.writeUInt32LE(ticket.sequence, 13);
  let at = headBytes;
  for (const n of numbers) at = bytes.writeDoubleLE(n, at);
  bytes.set(data, at);
  return bytes;
}

/**
 * A proposal from its entry; `undefined` if it is cut short or its numbers are none, which changes nothing on any member.
 * @throws RaftError `RAFT_LEVEL_UNREADABLE` if it is of a kind that a newer program made
 */
export function decodeProposal(from: Uint8Array): { readonly ticket: Ticket; readonly proposal: Proposal } | undefined {
  const bytes = asBuffer(from);
  const kind = kinds[bytes[0] as number];
  if (kind === undefined) {
    throw new RaftError(
      { code: "RAFT_LEVEL_UNREADABLE", found: Number.NaN, ...levels },
      `the log holds a proposal of kind ${bytes[0]}, which this program does not know: a newer one wrote it; upgrade this one`,
    );
  }
  if (bytes.length < headBytes + numberCounts[kind] * 8) return undefined;
  const ticket = { origin: bytes.readDoubleLE(1), boot: bytes.readUInt32LE(9), sequence: bytes.readUInt32LE(13) };
  const n = (at: number): number => bytes.readDoubleLE(headBytes + at * 8);
  for (let at = 0; at < numberCounts[kind]; at++) if (!Number.isSafeInteger(n(at)) || n(at) < 0) return undefined;
  switch (kind) {
    case "command":
      return { ticket, proposal: { kind, data: bytes.subarray(headBytes) } };
    case "register":
      return { ticket, proposal: { kind, ttlMs: n(0) } };
    case "clock":
      return { ticket, proposal: { kind, elapsedMs: n(0) } };
    case "session": {
      const data = bytes.subarray(headBytes + 24);
      return { ticket, proposal: { kind, session: n(0), number: n(1), acknowledged: n(2), data } };
    }
  }
}

function numbersOf(proposal: Proposal): number[] {
  switch (proposal.kind) {
    case "command":
      return [];
    case "register":
      return [proposal.ttlMs];
    case "session":
      return [proposal.session, proposal.number, proposal.acknowledged];
    case "clock":
      return [proposal.elapsedMs];
  }
}

/** What another member hands on is checked as what is proposed here. @throws RaftError `RAFT_WIRE_INVALID` */
export function checkForwarded({ from, entries }: Message, maxProposalBytes: number): void {
  for (const { type, data } of entries) {
    const sound = type !== "EntryNormal" || decodeProposal(data) !== undefined;
    if (sound && data.length <= maxProposalBytes + headBytes + mostNumbers * 8) continue;
    const why = sound ? `${data.length} bytes, and ${maxProposalBytes} are the most` : "no form that can be applied";
    throw new RaftError({ code: "RAFT_WIRE_INVALID" }, `member ${from} handed on a proposal of ${why}`);
  }
}
