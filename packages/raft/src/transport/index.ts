export type { Hello, Member, PeerRefusal, Tags, Transport, TransportHandler } from "./transport.ts";
export { MemoryNetwork } from "./memory-transport.ts";
export { raftProtocol, type TlsFiles, type TlsSource } from "./tls.ts";
export { grpcTransport, type GrpcTransport, type GrpcTransportOptions } from "./grpc-transport.ts";
