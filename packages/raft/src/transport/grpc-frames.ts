/**
 * gRPC's messages on an HTTP/2 stream: a byte that says "not compressed", four of length, and `Frame { bytes body = 1 }`
 * of `proto/warren/raft/v1/raft.proto`, laid by hand so that entries are not encoded again.
 */
import { pushVarint, readVarint } from "@warren/std";
import { RaftError } from "../errors.ts";

/** Largest message taken: a batch of appends to one peer. */
export const maxMessageBytes: number = 64 * 1024 * 1024;
const prefixBytes = 5;
/** Field 1, of bytes. */
const bodyTag = 0x0a;

export function encodeFrame(body: Uint8Array): Buffer {
  const length: number[] = [];
  pushVarint(length, body.length);
  const messageBytes = 1 + length.length + body.length;
  // From the pool if it is small: a frame lives until it is encrypted.
  const frame = Buffer.allocUnsafe(prefixBytes + messageBytes);
  frame[0] = 0;
  let at = frame.writeUInt32BE(messageBytes, 1);
  frame[at++] = bodyTag;
  for (const byte of length) frame[at++] = byte;
  frame.set(body, at);
  return frame;
}

/** Takes a stream's chunks as they come, and gives the bodies of the frames that they complete. */
export class FrameReader {
  private parts: Buffer[] = [];
  private size = 0;
  private needed = prefixBytes;

  /** @throws RaftError `RAFT_WIRE_INVALID` */
  read(chunk: Buffer): Buffer[] {
    this.parts.push(chunk);
    this.size += chunk.length;
    if (this.size < this.needed) return [];
    const bytes = this.parts.length === 1 ? chunk : Buffer.concat(this.parts, this.size);
    const bodies: Buffer[] = [];
    let at = 0;
    for (;;) {
      this.needed = prefixBytes;
      if (bytes.length - at < prefixBytes) break;
      this.needed += messageLength(bytes, at);
      if (bytes.length - at < this.needed) break;
      bodies.push(bodyOf(bytes.subarray(at + prefixBytes, at + this.needed)));
      at += this.needed;
    }
    const rest = bytes.subarray(at);
    this.parts = rest.length > 0 ? [rest] : [];
    this.size = rest.length;
    return bodies;
  }
}

function messageLength(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at + 1);
  if (bytes[at] !== 0) throw invalid("it is compressed");
  if (length > maxMessageBytes) throw invalid(`it has ${length} bytes, and ${maxMessageBytes} are the most`);
  return length;
}

function bodyOf(message: Buffer): Buffer {
  // A field that has its default may be left out.
  if (message.length === 0) return message;
  const length = readVarint(message, 1);
  if (message[0] !== bodyTag || length === undefined || length.end + length.value !== message.length)
    throw invalid("it is not one bytes field");
  return message.subarray(length.end);
}

function invalid(why: string): RaftError {
  return new RaftError({ code: "RAFT_WIRE_INVALID" }, `a frame can't be read: ${why}`);
}
