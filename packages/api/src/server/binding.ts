import type { MethodDefinition, RequestOf, ResponseOf, ServiceDefinition } from "../rpc.ts";
import type { Identity } from "../identity.ts";

/** The context of a call, for its handler. */
export interface CallContext {
  /** Aborted when the caller has gone, its deadline has passed, the server closes, or the call has ended. */
  readonly signal: AbortSignal;
  readonly identity: Identity;
  /** The manager that forwarded the call, if it was forwarded. */
  readonly forwardedBy?: string;
  /** `/warren.v1.Services/Create` */
  readonly path: string;
}

type Handler<M extends MethodDefinition> = M["requestStream"] extends true
  ? (requests: AsyncIterable<RequestOf<M>>, context: CallContext) => AsyncIterable<ResponseOf<M>>
  : M["responseStream"] extends true
    ? (request: RequestOf<M>, context: CallContext) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, context: CallContext) => Promise<ResponseOf<M>> | ResponseOf<M>;

/**
 * The functions of a service. A handler fails by throwing ApiError (or another error with a code that `../status.ts`
 * knows); any other error reaches the caller as INTERNAL with an id, and is logged under that id.
 *
 * A stream of responses is read only as fast as the caller reads it, and its `return()` is called when the caller has
 * gone. A stream of requests throws API_CANCELLED when the caller goes before its end.
 */
export type Handlers<D extends ServiceDefinition> = {
  readonly [Name in keyof D["methods"]]: Handler<D["methods"][Name]>;
};

export interface BoundService {
  readonly definition: ServiceDefinition;
  readonly handlers: Readonly<Record<string, Handler<MethodDefinition>>>;
}

/** Binds handlers to a generated service, for `startServer` or a `Pipeline`. */
export function bind<D extends ServiceDefinition>(definition: D, handlers: Handlers<D>): BoundService {
  return { definition, handlers: handlers as unknown as BoundService["handlers"] };
}
