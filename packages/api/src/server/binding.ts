import type { MethodDefinition, RequestOf, ResponseOf, ServiceDefinition } from "../rpc.ts";
import type { Identity } from "../identity.ts";

/** What a handler knows of its call. */
export interface CallContext {
  /** Aborted when the caller has gone, its deadline has passed, the server closes, or the call has ended. */
  readonly signal: AbortSignal;
  readonly identity: Identity;
  /** The manager that took the call and forwarded it, if another did. */
  readonly forwardedBy?: string;
  /** Whether the caller takes an answer that may be behind, without a barrier for reads. */
  readonly stale?: boolean;
  /** `/warren.v1.Services/Create` */
  readonly path: string;
}

type Handler<M extends MethodDefinition> = M["requestStream"] extends true
  ? (requests: AsyncIterable<RequestOf<M>>, context: CallContext) => AsyncIterable<ResponseOf<M>>
  : M["responseStream"] extends true
    ? (request: RequestOf<M>, context: CallContext) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, context: CallContext) => Promise<ResponseOf<M>> | ResponseOf<M>;

/**
 * The functions of a service. One fails by throwing ApiError (or another error with a code that `../status.ts` knows);
 * whatever else it throws reaches the caller as INTERNAL with an id, and is logged under that id.
 *
 * A stream of answers is read only as fast as the caller takes it, and asked to end (`return()`) when the caller has
 * gone. A stream of requests throws API_CANCELLED when the caller goes before its end.
 */
export type Handlers<D extends ServiceDefinition> = {
  readonly [Name in keyof D["methods"]]: Handler<D["methods"][Name]>;
};

export interface BoundService {
  readonly definition: ServiceDefinition;
  readonly handlers: Readonly<Record<string, Handler<MethodDefinition>>>;
}

/** Joins a generated service and its functions, for `startServer` or a `Pipeline`. */
export function bind<D extends ServiceDefinition>(definition: D, handlers: Handlers<D>): BoundService {
  return { definition, handlers: handlers as unknown as BoundService["handlers"] };
}
