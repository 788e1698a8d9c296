/** A host and a port on it. */
export interface HostPort {
  /** A name, an IPv4 address, or an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
}

const highestPort = 65_535;
const grammar = /^(?:\[([0-9a-fA-F:.]+(?:%[^\]\s]+)?)\]|([^:[\]\s/@]+))(?::(\d{1,5}))?$/;

/**
 * `HOST:PORT`, with an IPv6 address in brackets; undefined for anything else. Port 0 is taken: it stands for any free one
 * where something listens.
 *
 * @param defaultPort the port where the text has none; without it a text must have one
 */
export function parseHostPort(text: string, defaultPort?: number): HostPort | undefined {
  const [, bracketed, plain, digits] = grammar.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = digits === undefined ? defaultPort : Number(digits);
  return host === undefined || port === undefined || port > highestPort ? undefined : { host, port };
}

/** The text that `parseHostPort` reads. */
export function formatHostPort({ host, port }: HostPort): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
