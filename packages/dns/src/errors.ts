import { WarrenError } from "@warren/std";

export type DnsFailure =
  /** An option is invalid; nothing was started. `field` is a path such as `upstreams[1]`. */
  | { readonly code: "DNS_OPTIONS_INVALID"; readonly field: string }
  /** An address can't be listened on: `reason` is errno's name, such as `EADDRINUSE` or `EADDRNOTAVAIL`. */
  | { readonly code: "DNS_LISTEN_FAILED"; readonly address: string; readonly port: number; readonly reason: string };

export class DnsError extends WarrenError<DnsFailure> {}
