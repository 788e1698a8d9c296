/**
 * Messages of RFC 1035 with the extension of RFC 6891, as bytes. What is forwarded is never decoded and encoded again, so
 * a record of an unknown type arrives as it was sent.
 *
 * I1  A name is compared in lower case and copied as it was asked, so that a client that varies the case of its
 *     question (draft-vixie-dnsext-dns0x20) recognises it.
 * I2  Nothing is read past the end of a message: each reader checks, and returns that the message is malformed.
 */

export const headerBytes = 12;
/** Longest name on the wire, RFC 1035 §2.3.4. */
const nameLimit = 255;
const labelLimit = 63;
/** Longest message over UDP without EDNS, bytes, RFC 1035 §2.3.4; the least size that EDNS may state, RFC 6891 §6.2.3. */
export const plainUdpBytes = 512;
export const optBytes = 11;

export const recordType = { A: 1, SOA: 6, PTR: 12, HINFO: 13, AAAA: 28, OPT: 41, ANY: 255 } as const;
/** The first of the types that are asked for but never stored (transfers, TSIG and their like), RFC 6895 §3.1. */
export const firstMetaType = 128;
export const internetClass = 1;

export const rcode = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const;

export const flag = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  authentic: 0x0020,
  checkingDisabled: 0x0010,
} as const;

export const opcodeMask = 0x7800;
export const rcodeMask = 0x000f;

interface Edns {
  /** Longest reply that the client accepts over UDP, bytes; at least 512. */
  readonly payloadBytes: number;
  readonly version: number;
  /** The DO bit: the client wants DNSSEC's records. */
  readonly dnssecOk: boolean;
}

/** A question that can be answered. `bytes` is the message that it came in. */
export interface Query {
  readonly bytes: Buffer;
  readonly flags: number;
  /** The name in lower case without the last dot, `""` for the root; undefined if a label holds a dot or is not ASCII. */
  readonly name: string | undefined;
  readonly type: number;
  readonly recordClass: number;
  /** Offset behind the question. */
  readonly end: number;
  readonly edns: Edns | undefined;
}

/** A message that is not a question to answer: it is dropped, or the reply is a code alone. */
export type Unreadable = { readonly rcode: number } | "drop";

export function uint16(bytes: Buffer, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function uint32(bytes: Buffer, at: number): number {
  return uint16(bytes, at) * 0x1_0000 + uint16(bytes, at + 2);
}

export function putUint16(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function putUint32(bytes: Buffer, at: number, value: number): void {
  putUint16(bytes, at, value >>> 16);
  putUint16(bytes, at + 2, value & 0xffff);
}

function lowerCase(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/** Offset behind a name that may end in a pointer; -1 if there is no name. */
function skipName(bytes: Buffer, from: number): number {
  let at = from;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) return -1;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2 <= bytes.length ? at + 2 : -1;
    if (length > labelLimit) return -1;
    at += length + 1;
    if (at - from >= nameLimit) return -1;
  }
}

/** Offset behind a question whose name is written out, as a first question's is; -1 if there is none. */
export function skipQuestion(bytes: Buffer): number {
  let at = headerBytes;
  for (;;) {
    const length = bytes[at];
    if (length === undefined || length > labelLimit || at - headerBytes >= nameLimit) return -1;
    at += length + 1;
    if (length === 0) return at + 4 <= bytes.length ? at + 4 : -1;
  }
}

const text = Buffer.alloc(nameLimit);

/** The name at offset 12 as text, of a message whose question was skipped. */
function questionName(bytes: Buffer): string | undefined {
  let at = headerBytes;
  let length = 0;
  for (;;) {
    const labelBytes = bytes[at++] as number;
    if (labelBytes === 0) return length === 0 ? "" : text.toString("latin1", 0, length - 1);
    for (const end = at + labelBytes; at < end; at += 1) {
      const byte = bytes[at] as number;
      if (byte === 0x2e || byte < 0x21 || byte > 0x7e) return undefined;
      text[length++] = lowerCase(byte);
    }
    text[length++] = 0x2e;
  }
}

/** One resource record's place in its message. */
export interface RecordPlace {
  readonly start: number;
  readonly type: number;
  readonly ttlAt: number;
  readonly dataAt: number;
  readonly end: number;
}

/** The record at an offset; undefined if it is not whole. */
export function readRecord(bytes: Buffer, start: number): RecordPlace | undefined {
  const at = skipName(bytes, start);
  if (at < 0 || at + 10 > bytes.length) return undefined;
  const end = at + 10 + uint16(bytes, at + 8);
  if (end > bytes.length) return undefined;
  return { start, type: uint16(bytes, at), ttlAt: at + 4, dataAt: at + 10, end };
}

/** EDNS of an OPT record, whose class and TTL fields have meanings of their own. */
function readEdns(bytes: Buffer, opt: RecordPlace): Edns {
  return {
    payloadBytes: Math.max(plainUdpBytes, uint16(bytes, opt.ttlAt - 2)),
    version: bytes[opt.ttlAt + 1] as number,
    dnssecOk: ((bytes[opt.ttlAt + 2] as number) & 0x80) !== 0,
  };
}

/** Finds OPT among the records behind the question. */
function findEdns(bytes: Buffer, end: number): Edns | undefined | "malformed" {
  const records = uint16(bytes, 6) + uint16(bytes, 8) + uint16(bytes, 10);
  const additionalFrom = records - uint16(bytes, 10);
  let at = end;
  let edns: Edns | undefined;
  for (let i = 0; i < records; i += 1) {
    const record = readRecord(bytes, at);
    if (record === undefined) return "malformed";
    at = record.end;
    if (record.type !== recordType.OPT) continue;
    // RFC 6891 §6.1.1: one, in the additional section, its name the root.
    if (edns !== undefined || i < additionalFrom || bytes[record.start] !== 0) return "malformed";
    edns = readEdns(bytes, record);
  }
  return at === bytes.length ? edns : "malformed";
}

/** Reads a message from a client. A response is dropped, or two servers could answer each other for ever. */
export function readQuery(bytes: Buffer): Query | Unreadable {
  if (bytes.length < headerBytes) return "drop";
  const flags = uint16(bytes, 2);
  if ((flags & flag.response) !== 0) return "drop";
  if ((flags & opcodeMask) !== 0) return { rcode: rcode.NOTIMP };
  // RFC 9619: a query has one question.
  if (uint16(bytes, 4) !== 1) return { rcode: rcode.FORMERR };
  const end = skipQuestion(bytes);
  if (end < 0) return { rcode: rcode.FORMERR };
  // The usual case: nothing follows the question.
  const edns =
    end === bytes.length && uint32(bytes, 6) === 0 && uint16(bytes, 10) === 0 ? undefined : findEdns(bytes, end);
  if (edns === "malformed") return { rcode: rcode.FORMERR };
  const name = questionName(bytes);
  return { bytes, flags, name, type: uint16(bytes, end - 4), recordClass: uint16(bytes, end - 2), end, edns };
}

/** The question in lower case as a key: name, type and class. */
export function questionKey(bytes: Buffer, end: number): string {
  const lower = Buffer.from(bytes.subarray(headerBytes, end));
  // Length bytes are below 64, so they are no letters.
  for (let at = 0; at < lower.length - 4; at += 1) lower[at] = lowerCase(lower[at] as number);
  return lower.toString("latin1");
}

/** Whether the first question of `a`, which ends at `end`, is that of `b`, whatever the case of its letters. */
export function sameQuestion(a: Buffer, end: number, b: Buffer): boolean {
  if (b.length < end) return false;
  for (let at = headerBytes; at < end - 4; at += 1) {
    if (lowerCase(a[at] as number) !== lowerCase(b[at] as number)) return false;
  }
  return a.compare(b, end - 4, end, end - 4, end) === 0;
}
