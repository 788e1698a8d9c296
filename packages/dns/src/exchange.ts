import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import { uint16 } from "./message.ts";
import type { Endpoint } from "./options.ts";

/** Whether a message is the awaited answer; others are ignored. */
export type Accepts = (message: Buffer) => boolean;

/**
 * Sends one question over UDP, from a port of its own that the kernel picks at random. The socket is connected, so that it
 * receives from the upstream alone, ICMP "port unreachable" included. Rejects with a system error, or the signal's reason.
 */
export function exchangeUdp(
  { address, port }: Endpoint,
  message: Buffer,
  accepts: Accepts,
  signal: AbortSignal,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
    let open = true;
    const end = (): void => {
      if (!open) return;
      open = false;
      signal.removeEventListener("abort", onAbort);
      socket.close();
    };
    const fail = (error: Error): void => {
      end();
      reject(error);
    };
    const onAbort = (): void => fail(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("error", fail);
    socket.on("message", (reply) => {
      if (!accepts(reply)) return;
      end();
      resolve(reply);
    });
    socket.connect(port, address, (error?: Error | null) => {
      if (error) fail(error);
      else if (open) socket.send(message);
    });
    if (signal.aborted) onAbort();
  });
}

/** A message with its length before it, as TCP carries it (RFC 1035 §4.2.2). */
export function frame(message: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(message.length + 2);
  framed.writeUInt16BE(message.length);
  message.copy(framed, 2);
  return framed;
}

/** Sends one question over a TCP connection of its own. */
export function exchangeTcp(
  { address, port }: Endpoint,
  message: Buffer,
  accepts: Accepts,
  signal: AbortSignal,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, noDelay: true });
    let received = Buffer.alloc(0);
    const onAbort = (): void => void socket.destroy(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("connect", () => void socket.write(frame(message)));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + uint16(received, 0)) {
        const reply = received.subarray(2, 2 + uint16(received, 0));
        received = received.subarray(2 + reply.length);
        if (!accepts(reply)) continue;
        resolve(reply);
        socket.destroy();
        return;
      }
    });
    socket.on("error", reject);
    socket.on("end", () => void socket.destroy());
    socket.on("close", () => {
      signal.removeEventListener("abort", onAbort);
      // Does nothing where an answer or an error came first.
      reject(new Error("the connection was closed before the answer"));
    });
    if (signal.aborted) onAbort();
  });
}
