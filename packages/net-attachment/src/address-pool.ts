import { isIPv4 } from "node:net";
import { AttachmentError } from "./errors.ts";

function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

function toText(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
}

/** First address and number of addresses of `10.77.1.0/24`; undefined if it is no IPv4 subnet. */
export function parseSubnet(text: string): { readonly first: number; readonly size: number } | undefined {
  const [address = "", bits = ""] = text.split("/");
  if (!isIPv4(address) || !/^\d{1,2}$/.test(bits) || Number(bits) > 32) return undefined;
  const size = 2 ** (32 - Number(bits));
  const value = toNumber(address);
  return { first: value - (value % size), size };
}

export function inSubnet(address: string, text: string): boolean {
  const subnet = parseSubnet(text);
  const offset = toNumber(address) - (subnet?.first ?? 0);
  return subnet !== undefined && offset >= 0 && offset < subnet.size;
}

/**
 * Addresses of a node's subnet. The first two are the node's own and the last is never given, so a /24 has 253.
 *
 * An address that comes back is given again after all others: a peer that still knows its last owner meets nobody
 * there, rather than somebody else. Pure; the state is the addresses in use, which the caller keeps.
 */
export class AddressPool {
  readonly #subnet: string;
  readonly #first: number;
  readonly #last: number;
  /** The next that was never given. */
  #fresh: number;
  readonly #used = new Set<number>();
  /** Given back, the longest ago first. */
  readonly #returned = new Set<number>();

  /** @throws AttachmentError `ATTACHMENT_INVALID` if `subnet` is none of four addresses or more */
  constructor(subnet: string, used: Iterable<string> = []) {
    const parsed = parseSubnet(subnet);
    if (parsed === undefined || parsed.size < 4) {
      throw new AttachmentError(
        { code: "ATTACHMENT_INVALID", field: "subnet" },
        `subnet: want an IPv4 subnet of four addresses or more, such as 10.77.1.0/24, not '${subnet}'`,
      );
    }
    this.#subnet = subnet;
    this.#first = parsed.first + 2;
    this.#last = parsed.first + parsed.size - 2;
    this.#fresh = this.#first;
    for (const address of used) this.reserve(address);
  }

  get free(): number {
    return this.#last - this.#first + 1 - this.#used.size;
  }

  /** @throws AttachmentError `ADDRESS_POOL_EMPTY` */
  allocate(): string {
    while (this.#used.has(this.#fresh)) this.#fresh += 1;
    const value = this.#fresh <= this.#last ? this.#fresh : this.#returned.values().next().value;
    if (value === undefined) {
      throw new AttachmentError(
        { code: "ADDRESS_POOL_EMPTY", subnet: this.#subnet },
        `all ${this.#used.size} addresses of ${this.#subnet} are in use: run fewer tasks on this node`,
      );
    }
    if (value === this.#fresh) this.#fresh += 1;
    this.reserve(toText(value));
    return toText(value);
  }

  /** Marks an address as in use. False if it is already, or is none that this pool gives. */
  reserve(address: string): boolean {
    const value = toNumber(address);
    if (!isIPv4(address) || value < this.#first || value > this.#last || this.#used.has(value)) return false;
    this.#returned.delete(value);
    this.#used.add(value);
    return true;
  }

  /** Gives an address back; one that is not in use is left as it is. */
  release(address: string): void {
    const value = toNumber(address);
    if (!this.#used.delete(value)) return;
    if (value < this.#fresh) this.#returned.add(value);
  }
}
