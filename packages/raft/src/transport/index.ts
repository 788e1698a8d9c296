export type { Hello, Member, Transport, TransportHandler } from "./transport.ts";
export { MemoryNetwork } from "./memory-transport.ts";
export type { TlsFiles } from "./grpc-connection.ts";
export { grpcTransport, type GrpcTransportOptions } from "./grpc-transport.ts";
