export type { Hello, Member, Transport, TransportHandler } from "./transport.ts";
export { MemoryNetwork } from "./memory-transport.ts";
