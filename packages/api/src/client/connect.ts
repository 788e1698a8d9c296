import { createSecureContext } from "node:tls";
import { Client as GrpcClient, credentials, type ChannelCredentials } from "@grpc/grpc-js";
import { errorText } from "@warren/std";
import type { Credentials } from "../credentials.ts";
import { invalid } from "../errors.ts";
import type { LeaderConnection } from "../forwarding.ts";
import { ClustersDefinition } from "../generated/warren/v1/cluster.ts";
import { DispatcherDefinition } from "../generated/warren/v1/dispatcher.ts";
import { EventsDefinition } from "../generated/warren/v1/event.ts";
import { ImagesDefinition } from "../generated/warren/v1/image.ts";
import { NetworksDefinition } from "../generated/warren/v1/network.ts";
import { NodesDefinition } from "../generated/warren/v1/node.ts";
import { RegistriesDefinition } from "../generated/warren/v1/registry.ts";
import { ServicesDefinition } from "../generated/warren/v1/service.ts";
import { TasksDefinition } from "../generated/warren/v1/task.ts";
import { VolumesDefinition } from "../generated/warren/v1/volume.ts";
import { methodPath, type MethodDefinition, type ServiceDefinition } from "../rpc.ts";
import {
  duplexCall,
  rawCall,
  streamCall,
  unaryCall,
  type Channel,
  type DuplexCall,
  type StreamCall,
  type UnaryCall,
} from "./calls.ts";
import { resolveConnectOptions, type ConnectOptions, type ResolvedConnectOptions } from "./options.ts";

type ClientMethod<M extends MethodDefinition> = M["requestStream"] extends true
  ? DuplexCall<M>
  : M["responseStream"] extends true
    ? StreamCall<M>
    : UnaryCall<M>;

/** A service's methods as functions. */
export type ServiceClient<D extends ServiceDefinition> = {
  readonly [Name in keyof D["methods"]]: ClientMethod<D["methods"][Name]>;
};

/** A connection to a manager. Every call fails with ApiError and nothing else. */
export interface ApiClient extends Disposable {
  readonly clusters: ServiceClient<ClustersDefinition>;
  readonly services: ServiceClient<ServicesDefinition>;
  readonly tasks: ServiceClient<TasksDefinition>;
  readonly nodes: ServiceClient<NodesDefinition>;
  readonly networks: ServiceClient<NetworksDefinition>;
  readonly registries: ServiceClient<RegistriesDefinition>;
  readonly volumes: ServiceClient<VolumesDefinition>;
  readonly images: ServiceClient<ImagesDefinition>;
  readonly events: ServiceClient<EventsDefinition>;
  readonly dispatcher: ServiceClient<DispatcherDefinition>;
  /** The client of any other generated service on the same connection, such as `HealthDefinition`. */
  service<D extends ServiceDefinition>(definition: D): ServiceClient<D>;
  /** Further calls fail; the connection is closed when the last call under way has ended. */
  close(): void;
}

/**
 * Does not connect before the first call; a later call connects again after the connection was lost.
 *
 * @throws ApiError `API_INVALID` if an option is wrong
 */
export function connect(options: ConnectOptions): ApiClient {
  const channel = openChannel(resolveConnectOptions(options));
  const service = <D extends ServiceDefinition>(definition: D): ServiceClient<D> => clientOf(channel, definition);
  const close = (): void => channel.close();
  return {
    clusters: service(ClustersDefinition),
    services: service(ServicesDefinition),
    tasks: service(TasksDefinition),
    nodes: service(NodesDefinition),
    networks: service(NetworksDefinition),
    registries: service(RegistriesDefinition),
    volumes: service(VolumesDefinition),
    images: service(ImagesDefinition),
    events: service(EventsDefinition),
    dispatcher: service(DispatcherDefinition),
    service,
    close,
    [Symbol.dispose]: close,
  };
}

/**
 * A manager's connection to the leader's pipeline. The leader accepts forwarded identities only if `options.credentials`
 * are a manager's.
 *
 * @throws ApiError `API_INVALID` if an option is wrong
 */
export function connectToLeader(options: ConnectOptions): LeaderConnection & Disposable {
  const channel = openChannel(resolveConnectOptions(options));
  return {
    call: (call) => rawCall(channel, call),
    [Symbol.dispose]: () => channel.close(),
  };
}

interface OpenChannel extends Channel {
  close(): void;
}

function openChannel(options: ResolvedConnectOptions): OpenChannel {
  const { credentials: source } = options;
  let used = source?.current();
  let grpc = grpcClient(options, used);
  return {
    options,
    get grpc() {
      const current = source?.current();
      if (current !== used) {
        // It throws for credentials that can't be used; those before then stay in use.
        const renewed = grpcClient(options, current);
        // Calls under way end on their old connection.
        grpc.close();
        grpc = renewed;
        used = current;
      }
      return grpc;
    },
    close: () => grpc.close(),
  };
}

function grpcClient(
  { uri, serverName, maxMessageBytes }: ResolvedConnectOptions,
  used: Credentials | undefined,
): GrpcClient {
  return new GrpcClient(uri, used === undefined ? credentials.createInsecure() : channelCredentials(used), {
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.service_config_disable_resolution": 1,
    "grpc.use_local_subchannel_pool": 1,
    ...(serverName === undefined
      ? {}
      : { "grpc.ssl_target_name_override": serverName, "grpc.default_authority": serverName }),
  });
}

/** @throws ApiError `API_INVALID` */
function channelCredentials({ cert, key, ca }: Credentials): ChannelCredentials {
  try {
    return credentials.createFromSecureContext(createSecureContext({ cert, key, ca, minVersion: "TLSv1.3" }));
  } catch (error) {
    throw invalid([{ field: "credentials", description: `can't be used: ${errorText(error)}` }]);
  }
}

function clientOf<D extends ServiceDefinition>(channel: Channel, definition: D): ServiceClient<D> {
  const methods = Object.entries(definition.methods).map(([name, method]) => {
    const make = method.requestStream ? duplexCall : method.responseStream ? streamCall : unaryCall;
    return [name, make(channel, methodPath(definition, method), method)];
  });
  return Object.fromEntries(methods) as ServiceClient<D>;
}
