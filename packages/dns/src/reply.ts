import { isIPv4, isIPv6 } from "node:net";
import {
  flag,
  headerBytes,
  internetClass,
  optBytes,
  putUint16,
  putUint32,
  rcode,
  recordType,
  uint16,
  type Query,
} from "./message.ts";

/** A pointer to the question's name, which every reply has at offset 12. */
const questionPointer = 0xc000 | headerBytes;
/** Name, type, class, TTL and length of a record whose name is a pointer, bytes. */
const recordHeadBytes = 12;

/** Why a question failed, for clients with EDNS (RFC 8914): a code of its registry, and a text for people. */
export interface ExtendedError {
  readonly infoCode: number;
  readonly text: string;
}

/** A header with the id of `bytes` and nothing else: the reply to a message that can't be read. */
export function bareReply(bytes: Buffer, code: number): Buffer {
  const reply = Buffer.alloc(headerBytes);
  reply[0] = bytes[0] as number;
  reply[1] = bytes[1] as number;
  const asked = uint16(bytes, 2);
  putUint16(reply, 2, flag.response | (asked & 0x7800) | (asked & flag.recursionDesired) | code);
  return reply;
}

/** Builds a reply: header and question are in place, records are appended. */
export class ReplyBuilder {
  readonly #query: Query;
  readonly #reply: Buffer;
  readonly #limit: number;
  readonly #maxUdpBytes: number;
  readonly #error: ExtendedError | undefined;
  readonly #optBytes: number;
  #at: number;
  #flags: number;
  #code: number;
  #answers = 0;
  #authorities = 0;

  /**
   * @param limit no reply is longer, bytes
   * @param recordBytes room for records, at most
   * @param maxUdpBytes longest UDP reply that we accept, sent in EDNS
   */
  constructor(
    query: Query,
    code: number,
    flags: number,
    recordBytes: number,
    limit: number,
    maxUdpBytes: number,
    error?: ExtendedError,
  ) {
    this.#query = query;
    this.#maxUdpBytes = maxUdpBytes;
    this.#error = query.edns === undefined ? undefined : error;
    this.#optBytes =
      query.edns === undefined ? 0 : optBytes + (this.#error === undefined ? 0 : errorBytes(this.#error));
    this.#limit = limit - this.#optBytes;
    this.#reply = Buffer.allocUnsafe(query.end + recordBytes + this.#optBytes);
    query.bytes.copy(this.#reply, 0, 0, query.end);
    this.#at = query.end;
    this.#code = code;
    this.#flags =
      flags | flag.response | flag.recursionAvailable | (query.flags & (flag.recursionDesired | flag.checkingDisabled));
  }

  /** Whether a record with that many bytes of data still fits; if not, the reply is flagged as truncated. */
  fits(dataBytes: number): boolean {
    if (this.#at + recordHeadBytes + dataBytes <= this.#limit) return true;
    this.#flags |= flag.truncated;
    return false;
  }

  answer(type: number, ttlSeconds: number, data: Buffer): void {
    this.#answers += 1;
    this.#record(questionPointer, type, ttlSeconds, data);
  }

  authority(owner: number, type: number, ttlSeconds: number, data: Buffer): void {
    this.#authorities += 1;
    this.#record(owner, type, ttlSeconds, data);
  }

  #record(owner: number, type: number, ttlSeconds: number, data: Buffer): void {
    const at = this.#at;
    const reply = this.#reply;
    putUint16(reply, at, owner);
    putUint16(reply, at + 2, type);
    putUint16(reply, at + 4, internetClass);
    putUint32(reply, at + 6, ttlSeconds);
    putUint16(reply, at + 10, data.length);
    // Addresses are short: a loop beats a call into the runtime.
    for (let i = 0; i < data.length; i += 1) reply[at + recordHeadBytes + i] = data[i] as number;
    this.#at = at + recordHeadBytes + data.length;
  }

  finish(): Buffer {
    const reply = this.#reply;
    putUint16(reply, 2, this.#flags | (this.#code & 0xf));
    putUint16(reply, 4, 1);
    putUint16(reply, 6, this.#answers);
    putUint16(reply, 8, this.#authorities);
    putUint16(reply, 10, this.#optBytes === 0 ? 0 : 1);
    if (this.#query.edns === undefined) return reply.length === this.#at ? reply : reply.subarray(0, this.#at);
    writeOpt(reply, this.#at, this.#query, this.#code, this.#maxUdpBytes, this.#error);
    return reply.subarray(0, this.#at + this.#optBytes);
  }
}

function errorBytes(error: ExtendedError): number {
  return 6 + Buffer.byteLength(error.text);
}

/** Length of the OPT record that a reply to `query` ends with. */
export function optLength(query: Query, error?: ExtendedError): number {
  if (query.edns === undefined) return 0;
  return optBytes + (error === undefined ? 0 : errorBytes(error));
}

/** Writes the OPT record that echoes the client's (RFC 6891 §6.1.1), its DO bit too (RFC 3225 §3). */
export function writeOpt(
  reply: Buffer,
  at: number,
  query: Query,
  code: number,
  maxUdpBytes: number,
  error?: ExtendedError,
): void {
  reply[at] = 0;
  putUint16(reply, at + 1, recordType.OPT);
  putUint16(reply, at + 3, maxUdpBytes);
  reply[at + 5] = code >>> 4;
  reply[at + 6] = 0;
  putUint16(reply, at + 7, query.edns?.dnssecOk === true ? 0x8000 : 0);
  putUint16(reply, at + 9, error === undefined ? 0 : errorBytes(error));
  if (error === undefined) return;
  putUint16(reply, at + 11, 15);
  putUint16(reply, at + 13, errorBytes(error) - 4);
  putUint16(reply, at + 15, error.infoCode);
  reply.write(error.text, at + 17);
}

/** Bytes of an address and the type of its record; undefined for text that is none. */
export interface AddressData {
  readonly type: number;
  readonly data: Buffer;
}

const addressData = new Map<string, AddressData | undefined>();
const addressDataLimit = 16_384;

/** Read once for each address: the few thousand of a cluster are asked for again and again. */
export function readAddress(address: string): AddressData | undefined {
  const known = addressData.get(address);
  if (known !== undefined) return known;
  const read = isIPv4(address)
    ? { type: recordType.A, data: Buffer.from(address.split(".").map(Number)) }
    : isIPv6(address)
      ? { type: recordType.AAAA, data: ipv6Bytes(address) }
      : undefined;
  if (addressData.size >= addressDataLimit) addressData.clear();
  addressData.set(address, read);
  return read;
}

/** Of an address that `isIPv6` has accepted. */
function ipv6Bytes(address: string): Buffer {
  const [head = "", tail] = (address.split("%")[0] as string).split("::");
  const words = (part: string): number[] =>
    part === ""
      ? []
      : part.split(":").flatMap((word) => {
          if (!word.includes(".")) return [Number.parseInt(word, 16)];
          const [a = 0, b = 0, c = 0, d = 0] = word.split(".").map(Number);
          return [(a << 8) | b, (c << 8) | d];
        });
  const before = words(head);
  const after = words(tail ?? "");
  const bytes = Buffer.alloc(16);
  for (const [i, word] of before.entries()) bytes.writeUInt16BE(word, i * 2);
  for (const [i, word] of after.entries()) bytes.writeUInt16BE(word, (8 - after.length + i) * 2);
  return bytes;
}

/** A name as it stands in a message. Its labels are ASCII and at most 63 bytes: it comes from a question, or from us. */
export function wireName(name: string): Buffer {
  const labels = name === "" ? [] : name.split(".");
  return Buffer.concat([
    ...labels.map((label) => Buffer.from([label.length, ...Buffer.from(label, "latin1")])),
    Buffer.of(0),
  ]);
}

export const rcodeName: ReadonlyMap<number, string> = new Map(
  Object.entries(rcode).map(([name, code]) => [code, name]),
);
