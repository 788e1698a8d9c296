import { ServerCredentials } from "@grpc/grpc-js";
import { Changes, type Clock, type Logger } from "@warren/std";
import type { TLSSocket } from "node:tls";
import type { CredentialSource } from "../credentials.ts";
import type { Identity } from "../identity.ts";
import { grpcServer, type GrpcOptions } from "./grpc.ts";
import type { ListenerMetrics } from "./metrics.ts";
import { remotePeer, type Directory, type Peer } from "./peer.ts";
import type { Pipeline } from "./pipeline.ts";
import { connectionKey, startTlsListener, type SecureConnection, type TlsListenerOptions } from "./tls-listener.ts";

/** The protocols of the port, by their ALPN names. */
export const protocolNames = { grpc: "h2", raft: "warren-raft/1" } as const;

export interface NetworkDependencies {
  readonly credentials: CredentialSource;
  readonly directory: Directory;
  /** Accepts Raft connections of other managers. Absent: that protocol is not offered. */
  readonly acceptRaft?: (socket: TLSSocket, identity: Identity) => void;
}

export interface NetworkListener extends AsyncDisposable {
  /** Where it listens, with the actual port. */
  readonly address: string;
  /**
   * Closes at once every connection whose identity was `name`, Raft's too, as after a removal. Returns their number.
   */
  closeConnectionsOf(name: string): number;
  /** Accepts no more connections, and resolves when the calls under way have ended. */
  drain(): Promise<void>;
  /** Ends everything now. Idempotent. */
  close(): Promise<void>;
}

interface Environment extends NetworkDependencies {
  readonly pipeline: Pipeline;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: ListenerMetrics;
}

/** Idle time after which a ping checks that the peer is alive, ms. */
const keepAliveMs = 30_000;

interface Known {
  readonly peer: Peer;
  readonly socket: TLSSocket;
  /** Every name that its identity has had. */
  readonly names: Set<string>;
}

export async function openNetwork(
  { pipeline, credentials, directory, acceptRaft, clock, log, metrics }: Environment,
  options: TlsListenerOptions,
  grpcOptions: GrpcOptions,
): Promise<NetworkListener> {
  const connections = new Map<string, Known>();
  /** gRPC connections. */
  const calling = new Set<TLSSocket>();
  const changes = new Changes();
  const enter = ({ socket, address, chain }: SecureConnection): Known => {
    const key = connectionKey(socket);
    const names = new Set<string>();
    const notice = <T extends object>(identity: T): T => {
      if ("name" in identity && typeof identity.name === "string") names.add(identity.name);
      return identity;
    };
    const remote = remotePeer(address, chain, directory);
    const known = { socket, names, peer: { ...remote, identify: () => notice(remote.identify()) } };
    connections.get(key)?.socket.destroy(); // The kernel has each pair of ends only once, so the older connection is dead.
    connections.set(key, known);
    socket.once("close", () => {
      if (connections.get(key) === known) connections.delete(key);
    });
    return known;
  };
  const server = grpcServer(pipeline, (ends) => connections.get(connectionKey(ends))?.peer, {
    ...grpcOptions,
    keepAliveMs,
  });
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = await startTlsListener(
    {
      credentials,
      clock,
      log,
      metrics,
      protocols: {
        ...(acceptRaft === undefined
          ? {}
          : { [protocolNames.raft]: (connection) => handToRaft(enter(connection), acceptRaft, log, metrics) }),
        [protocolNames.grpc]: (connection) => {
          const { peer, socket } = enter(connection);
          peer.identify(); // Records its name, so that a connection without calls is closed with the others of that name.
          calling.add(socket);
          socket.once("close", () => {
            calling.delete(socket);
            changes.notify();
          });
          injector.injectConnection(socket);
        },
      },
    },
    options,
  );
  log.info("serving other machines", { address: listener.address });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closed ??= (async () => {
      server.forceShutdown();
      await listener.close();
    })());
  return {
    address: listener.address,
    closeConnectionsOf(name) {
      const found = [...connections.values()].filter(({ names }) => names.has(name));
      for (const { socket } of found) socket.destroy();
      if (found.length > 0) log.info("closed connections", { of: name, connections: found.length });
      return found.length;
    },
    async drain() {
      listener.stop();
      // grpc-js ends every session with its calls, but does not wait for injected connections.
      server.tryShutdown(() => undefined);
      await changes.until(() => (calling.size === 0 ? true : undefined));
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Only managers may connect; Raft itself checks which members they are. */
function handToRaft(
  { peer, socket }: Known,
  acceptRaft: NonNullable<NetworkDependencies["acceptRaft"]>,
  log: Logger,
  metrics: ListenerMetrics,
): void {
  const identity = peer.identify();
  if (!("refused" in identity) && identity.roles.includes("manager")) return acceptRaft(socket, identity);
  const why = "refused" in identity ? identity.message : `${identity.name} is not a manager`;
  log.warn("a Raft connection was refused", { from: peer.address, why });
  metrics.refused.add(1, { reason: "raft_peer" });
  socket.destroy();
}
