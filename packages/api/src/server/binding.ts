import type { MethodDefinition, RequestOf, ResponseOf, ServiceDefinition } from "../rpc.ts";
import type { Identity } from "./authorization.ts";

/** What a handler knows of its call. */
export interface CallContext {
  /** Aborted when the caller has gone, its deadline has passed, or the server closes. */
  readonly signal: AbortSignal;
  readonly identity: Identity;
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
 * whatever else it throws is told to the caller as INTERNAL with an id, and logged under that id.
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

/** Joins a generated service and its functions, for `startServer`. */
export function bind<D extends ServiceDefinition>(definition: D, handlers: Handlers<D>): BoundService {
  return { definition, handlers: handlers as unknown as BoundService["handlers"] };
}
