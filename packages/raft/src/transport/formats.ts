/** What this program reads and writes, all levels together. */
import { levels, type Formats } from "../levels.ts";
import { decodeMessages, encodeMessages } from "./wire.ts";

export const formats: Formats = { ...levels, encodeMessages: (messages) => encodeMessages(messages), decodeMessages };
