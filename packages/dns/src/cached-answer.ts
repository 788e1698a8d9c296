import {
  flag,
  headerBytes,
  putUint16,
  putUint32,
  rcode,
  rcodeMask,
  readRecord,
  recordType,
  skipQuestion,
  uint16,
  uint32,
  type Query,
} from "./message.ts";
import { optLength, writeOpt, type ExtendedError } from "./reply.ts";

/** An answer from upstream as it is kept: its bytes without OPT, and where its TTLs are. */
export interface Answer {
  readonly bytes: Buffer;
  /** Offset behind the question. */
  readonly end: number;
  readonly ttls: Uint16Array;
  readonly rcode: number;
  /** How long it is fresh, seconds; 0: not to be kept. */
  readonly ttlSeconds: number;
}

/** An upstream's response, parsed. `edns`: it had an OPT record. */
export interface Reading {
  readonly answer: Answer;
  readonly rcode: number;
  readonly edns: boolean;
}

/** TTLs with the first bit set count as none, RFC 2181 §8. */
function ttlAt(bytes: Buffer, at: number): number {
  const ttl = uint32(bytes, at);
  return ttl > 0x7fff_ffff ? 0 : ttl;
}

export interface TtlLimits {
  readonly maxTtlSeconds: number;
  readonly maxNegativeTtlSeconds: number;
}

/**
 * Reads a response whose question is ours; undefined if it is malformed.
 *
 * OPT belongs to one hop and is cut off, with what follows it: no client needs anything of the additional section.
 */
export function readAnswer(bytes: Buffer, limits: TtlLimits): Reading | undefined {
  const end = skipQuestion(bytes);
  if (end < 0) return undefined;
  const counts = [uint16(bytes, 6), uint16(bytes, 8), uint16(bytes, 10)] as const;
  const ttls: number[] = [];
  let at = end;
  let ttlSeconds = limits.maxTtlSeconds;
  let authority = false;
  let kept = 0;
  let opt: { readonly at: number; readonly extendedRcode: number } | undefined;
  for (const [section, count] of counts.entries()) {
    for (let i = 0; i < count; i += 1) {
      const record = readRecord(bytes, at);
      if (record === undefined) return undefined;
      at = record.end;
      if (record.type === recordType.OPT) {
        if (opt !== undefined || section < 2) return undefined;
        opt = { at: record.start, extendedRcode: bytes[record.ttlAt] as number };
        continue;
      }
      if (opt !== undefined) continue;
      ttls.push(record.ttlAt);
      if (section === 2) kept += 1;
      else ttlSeconds = Math.min(ttlSeconds, ttlAt(bytes, record.ttlAt));
      if (section === 1 && record.type === recordType.SOA && record.end - record.dataAt >= 22) {
        // RFC 2308 §5: the TTL of a negative answer.
        authority = true;
        ttlSeconds = Math.min(ttlSeconds, limits.maxNegativeTtlSeconds, ttlAt(bytes, record.end - 4));
      }
    }
  }
  const code = (uint16(bytes, 2) & rcodeMask) | ((opt?.extendedRcode ?? 0) << 4);
  const negative = code === rcode.NXDOMAIN || counts[0] === 0;
  const stored = Buffer.from(bytes.subarray(0, opt?.at ?? at));
  putUint16(stored, 10, kept);
  const keep = (code === rcode.NOERROR || code === rcode.NXDOMAIN) && (!negative || authority);
  const answer = { bytes: stored, end, ttls: Uint16Array.from(ttls), rcode: code, ttlSeconds: keep ? ttlSeconds : 0 };
  return { answer, rcode: code, edns: opt !== undefined };
}

export interface ReplyForm {
  /** No reply is longer, bytes. */
  readonly limit: number;
  readonly maxUdpBytes: number;
  /** Taken from every TTL, seconds. */
  readonly ageSeconds: number;
  /** Of a stale answer: every TTL is this instead, seconds. */
  readonly staleTtlSeconds?: number;
  readonly error?: ExtendedError;
}

/** The reply to a question that `answer` answers; cut to its question if it is too long. */
export function replyFrom(answer: Answer, query: Query, form: ReplyForm): Buffer {
  const whole = answer.bytes.length + optLength(query, form.error) <= form.limit;
  const length = whole ? answer.bytes.length : answer.end;
  const reply = Buffer.allocUnsafe(length + optLength(query, form.error));
  answer.bytes.copy(reply, 0, 0, length);
  // I1: the question in the client's own upper and lower case. The names of records point to it, or stay as upstream sent them.
  query.bytes.copy(reply, headerBytes, headerBytes, query.end);
  reply[0] = query.bytes[0] as number;
  reply[1] = query.bytes[1] as number;
  // Nothing was validated here, so nothing is called authentic.
  const asked = query.flags & (flag.recursionDesired | flag.checkingDisabled);
  putUint16(
    reply,
    2,
    flag.response | flag.recursionAvailable | asked | (answer.rcode & 0xf) | (whole ? 0 : flag.truncated),
  );
  putUint16(reply, 10, whole ? uint16(answer.bytes, 10) : 0);
  if (whole) {
    for (const at of answer.ttls) {
      putUint32(reply, at, form.staleTtlSeconds ?? Math.max(0, ttlAt(answer.bytes, at) - form.ageSeconds));
    }
  } else {
    putUint32(reply, 6, 0);
  }
  if (query.edns !== undefined) writeOpt(reply, length, query, answer.rcode, form.maxUdpBytes, form.error);
  if (query.edns !== undefined) putUint16(reply, 10, uint16(reply, 10) + 1);
  return reply;
}
