/** A message's codec, as ts-proto generates it: `$type` is its full name. */
export interface MessageType<T = unknown> {
  readonly $type: string;
  encode(message: T): { finish(): Uint8Array };
  decode(input: Uint8Array): T;
  // A method's parameter, so that a MessageType of any T is one of `unknown`.
  fromPartial(object: never): T;
}

/** One method of a generated service definition. */
export interface MethodDefinition {
  readonly name: string;
  readonly requestType: MessageType;
  readonly requestStream: boolean;
  readonly responseType: MessageType;
  readonly responseStream: boolean;
}

/** A generated service, such as `ServicesDefinition`. */
export interface ServiceDefinition {
  readonly name: string;
  readonly fullName: string;
  readonly methods: Readonly<Record<string, MethodDefinition>>;
}

export type RequestOf<M extends MethodDefinition> = ReturnType<M["requestType"]["decode"]>;
export type ResponseOf<M extends MethodDefinition> = ReturnType<M["responseType"]["decode"]>;
/** A request in which fields may be left out; they have their defaults. */
export type PartialRequestOf<M extends MethodDefinition> = Parameters<M["requestType"]["fromPartial"]>[0];

/** A method's path in HTTP/2: `/warren.v1.Services/Create`. */
export function methodPath(service: ServiceDefinition, method: MethodDefinition): string {
  return `/${service.fullName}/${method.name}`;
}
