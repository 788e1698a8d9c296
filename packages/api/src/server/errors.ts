import { WarrenError } from "@warren/std";

/** What keeps a server from starting. */
export type ServerFailure =
  | { readonly code: "SERVER_OPTIONS_INVALID"; readonly option: string }
  | { readonly code: "SERVER_ADDRESS_UNUSABLE"; readonly address: string }
  | { readonly code: "SERVER_SOCKET_IN_USE"; readonly path: string }
  | { readonly code: "SERVER_SOCKET_UNUSABLE"; readonly path: string };

export class ServerError extends WarrenError<ServerFailure> {}
