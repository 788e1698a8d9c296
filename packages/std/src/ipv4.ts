import { isIPv4 } from "node:net";

/** An IPv4 subnet, such as `10.77.1.0/24`. */
export interface Ipv4Subnet {
  /** Its first address, as `ipv4Number` has it. */
  readonly first: number;
  /** Number of its addresses: 2 ** (32 - prefix). */
  readonly size: number;
  /** 0 to 32. */
  readonly prefix: number;
}

/** An address as an unsigned number of 32 bits; undefined for a text that is not `a.b.c.d`. */
export function ipv4Number(text: string): number | undefined {
  if (!isIPv4(text)) return undefined;
  const [a = 0, b = 0, c = 0, d = 0] = text.split(".").map(Number);
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** The text that `ipv4Number` reads. */
export function ipv4Text(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");
}

/** Undefined for a text that is not `a.b.c.d/n`. Address bits beyond the prefix are dropped. */
export function parseIpv4Subnet(text: string): Ipv4Subnet | undefined {
  const [, host = "", length = ""] = /^([^/]*)\/(\d{1,2})$/.exec(text) ?? [];
  const address = ipv4Number(host);
  const prefix = Number(length);
  if (address === undefined || prefix > 32) return undefined;
  const size = 2 ** (32 - prefix);
  return { first: address - (address % size), size, prefix };
}

/** Whether a text is an IPv4 address of the subnet. */
export function ipv4SubnetHas({ first, size }: Ipv4Subnet, text: string): boolean {
  const address = ipv4Number(text);
  return address !== undefined && address >= first && address < first + size;
}
