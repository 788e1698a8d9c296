export type { Hello, Member, Transport, TransportHandler } from "./transport.ts";
export { MemoryNetwork } from "./memory-transport.ts";
export { grpcTransport, type GrpcTransportOptions, type TlsFiles } from "./grpc-transport.ts";
