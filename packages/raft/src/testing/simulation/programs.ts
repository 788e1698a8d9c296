/** Programs of two levels, for groups that run both: the present one, and one that adds a frame and a level to it. */
import { crc32 } from "node:zlib";

import { RaftError } from "../../errors.ts";
import { checkLevel, type Formats } from "../../levels.ts";
import { formats } from "../../transport/formats.ts";

/** Before the frame of level 1 in one of the next level: `level u8 | crc32 u32`. */
const headBytes = 5;

const present = formats.level;

/** A program whose next level has a frame with a checksum. It reads the present level too. */
const nextFormats: Formats = {
  minLevel: formats.minLevel,
  level: present + 1,
  encodeMessages(messages, level) {
    const body = formats.encodeMessages(messages, Math.min(level, present));
    if (level <= present) return body;
    const frame = Buffer.alloc(headBytes + body.length);
    frame[0] = level;
    frame.writeUInt32LE(crc32(body), 1);
    frame.set(body, headBytes);
    return frame;
  },
  decodeMessages(bytes) {
    const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    checkLevel(frame[0], "a frame", nextFormats);
    if ((frame[0] ?? 0) <= present) return formats.decodeMessages(frame);
    const body = frame.subarray(headBytes);
    if (crc32(body) !== frame.readUInt32LE(1)) {
      throw new RaftError({ code: "RAFT_WIRE_INVALID" }, "a frame's checksum is wrong");
    }
    return formats.decodeMessages(body);
  },
};

/** Which program a member runs. */
export type Program = "present" | "next";

export const programs: Readonly<Record<Program, Formats>> = { present: formats, next: nextFormats };

/** The key under which a simulated cluster's state holds its active level, once it was raised. */
export const levelKey = "active-level";
