import { createSocket } from "node:dgram";
import { connect } from "node:net";
import {
  decode,
  encode,
  streamEncode,
  type DecodedPacket,
  type OptAnswer,
  type Packet,
  type RecordType,
} from "dns-packet";
import type { DnsServer } from "@warren/dns";

export interface Ask {
  readonly transport?: "udp" | "tcp";
  readonly id?: number;
  readonly flags?: number;
  readonly edns?: { readonly udpPayloadSize?: number; readonly ednsVersion?: number; readonly flags?: number };
  /** The address that the question comes from. */
  readonly from?: string;
}

export function question(name: string, type: RecordType, { id = 4_711, flags = 0x0100, edns }: Ask = {}): Packet {
  const opt = {
    type: "OPT",
    name: ".",
    udpPayloadSize: edns?.udpPayloadSize ?? 4_096,
    extendedRcode: 0,
    ednsVersion: edns?.ednsVersion ?? 0,
    flags: edns?.flags ?? 0,
    options: [],
  } as unknown as OptAnswer;
  return {
    type: "query",
    id,
    flags,
    questions: [{ name, type }],
    ...(edns === undefined ? {} : { additionals: [opt] }),
  };
}

/** Sends a datagram and resolves to the first that comes back. */
export async function sendDatagram(
  server: Pick<DnsServer, "addresses">,
  bytes: Uint8Array,
  from = "127.0.0.1",
): Promise<Buffer> {
  const [{ address, port } = { address: "", port: 0 }] = server.addresses;
  const socket = createSocket("udp4");
  try {
    return await new Promise((resolve, reject) => {
      socket.on("error", reject);
      socket.on("message", resolve);
      socket.bind(0, from, () => socket.send(bytes, port, address));
    });
  } finally {
    socket.close();
  }
}

/** Sends framed messages on one connection and resolves to what is received until it is closed or `count` are here. */
export function sendStream(server: Pick<DnsServer, "addresses">, bytes: Uint8Array, count: number): Promise<Buffer[]> {
  const [{ address, port } = { address: "", port: 0 }] = server.addresses;
  return new Promise((resolve, reject) => {
    const socket = connect(port, address, () => socket.write(bytes));
    const messages: Buffer[] = [];
    let received = Buffer.alloc(0);
    socket.on("error", reject);
    socket.on("close", () => resolve(messages));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE()) {
        const length = received.readUInt16BE();
        messages.push(received.subarray(2, 2 + length));
        received = received.subarray(2 + length);
      }
      if (messages.length >= count) socket.end();
    });
  });
}

export async function ask(
  server: Pick<DnsServer, "addresses">,
  name: string,
  type: RecordType,
  options: Ask = {},
): Promise<DecodedPacket> {
  const packet = question(name, type, options);
  if (options.transport !== "tcp") return decode(await sendDatagram(server, encode(packet), options.from));
  const [reply] = await sendStream(server, streamEncode(packet), 1);
  if (reply === undefined) throw new Error("the connection was closed without a reply");
  return decode(reply);
}

/** The data of the answers, in order of text. */
export function data(packet: Pick<Packet, "answers">): string[] {
  const texts = (packet.answers ?? []).map((answer) => ("data" in answer ? answer.data : undefined));
  return texts.filter((text) => typeof text === "string").toSorted();
}

export function rcodeOf(packet: DecodedPacket): number {
  return (packet.flags ?? 0) & 0xf;
}
