/** The small languages that flags are written in: Docker's, and what it has no word for. Pure. */
import {
  PortSpec_Mode,
  PortSpec_Protocol,
  type Device,
  type ExecProbe,
  type Mount,
  type NetworkAttachment,
  type PortSpec,
  type Ulimit,
} from "@warren/api";
import { parseBytes, UnitError } from "../units.ts";
import { withoutTemplates } from "./env-file.ts";

/** `KEY=VALUE`; the value may be empty and hold more `=`. */
export function parseKeyValue(text: string): [string, string] {
  const at = text.indexOf("=");
  if (at < 1) throw new UnitError(`'${text}': want KEY=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** `KEY=VALUE`, or `KEY` alone with an empty value. */
export function parseLabel(text: string): [string, string] {
  return text === "" || text.includes("=") ? parseKeyValue(text) : [text, ""];
}

/** `NAME:ADDRESS` or `NAME=ADDRESS`; an IPv6 address may stand in brackets. */
export function parseHostEntry(text: string): [string, string] {
  const [, name = "", address = ""] = /^([^:=]+)[:=](.+)$/.exec(text) ?? [];
  if (name === "") throw new UnitError(`'${text}': want NAME:ADDRESS`);
  if (address === "host-gateway")
    throw new UnitError(`'${text}': there is no host-gateway here; give the node's address`);
  return [name, address.replace(/^\[(.*)\]$/, "$1")];
}

/** Splits as a shell does: white space, single and double quotes, backslash. Nothing is expanded. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  const pattern = /(?:[^\s"'\\]|\\[\s\S]|"(?:[^"\\]|\\[\s\S])*"|'[^']*')+/g;
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (/\S/.test(text.slice(end, match.index))) break;
    end = match.index + match[0].length;
    words.push(match[0].replaceAll(/\\([\s\S])|"((?:[^"\\]|\\[\s\S])*)"|'([^']*)'/g, unquote));
  }
  if (/\S/.test(text.slice(end))) throw new UnitError(`a quote is open in: ${text}`);
  return words;
}

function unquote(_: string, escaped?: string, double?: string, single?: string): string {
  return escaped ?? single ?? (double as string).replaceAll(/\\(["\\$`\n])/g, "$1");
}

/** A command for the container's shell, as Docker runs it; a JSON list of words runs without one. */
export function parseHealthCommand(text: string): ExecProbe {
  if (text.trim() === "") throw new UnitError("a command is required, as one text: --health-cmd 'test -f /ready'");
  const words = jsonWords(text);
  return { command: words ?? ["/bin/sh", "-c", text] };
}

function jsonWords(text: string): string[] | undefined {
  if (!text.trimStart().startsWith("[")) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    const isWords = Array.isArray(parsed) && parsed.length > 0 && parsed.every((word) => typeof word === "string");
    return isWords ? parsed : undefined;
  } catch {
    // `[ -f /ready ]` is a command of the shell.
    return undefined;
  }
}

/** Fields of a line of CSV: one in double quotes may hold commas, and `""` for a quote. */
function splitFields(text: string): string[] {
  if (!/^(?:"(?:[^"]|"")*"|[^",]*)(?:,(?:"(?:[^"]|"")*"|[^",]*))*$/.test(text))
    throw new UnitError(`'${text}': a quote is open, or stands inside of a field`);
  const fields = text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g);
  return [...fields].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? "");
}

/** `key=value,key=value`; a part without `=` is a switch. `names`: each key, and the one that it is another name for. */
function parseOptions(text: string, names: Readonly<Record<string, string>>): Map<string, string | undefined> {
  const options = new Map<string, string | undefined>();
  for (const part of splitFields(text)) {
    const at = part.indexOf("=");
    const key = (at === -1 ? part : part.slice(0, at)).toLowerCase();
    const name = Object.hasOwn(names, key) ? names[key] : undefined;
    if (name === undefined) throw new UnitError(`'${part}' in '${text}': want ${Object.keys(names).join(", ")}`);
    if (options.has(name)) throw new UnitError(`'${text}' says ${name} twice`);
    options.set(name, at === -1 ? undefined : part.slice(at + 1));
  }
  return options;
}

/** As Go reads a bool; a switch without a value is on. */
function parseSwitch(text: string, options: ReadonlyMap<string, string | undefined>, name: string): boolean {
  if (!options.has(name)) return false;
  const value = options.get(name) ?? "true";
  if (/^(1|t|true)$/i.test(value)) return true;
  if (/^(0|f|false)$/i.test(value)) return false;
  throw new UnitError(`'${text}': ${name} is true or false, not '${value}'`);
}

const mountKeys = {
  type: "type",
  src: "src",
  source: "src",
  dst: "dst",
  destination: "dst",
  target: "dst",
  ro: "readonly",
  readonly: "readonly",
  size: "size",
  "tmpfs-size": "size",
  mode: "mode",
  "tmpfs-mode": "mode",
} as const;

/** `type=volume,src=data,dst=/data,ro`. */
export function parseMount(text: string): Mount {
  const options = parseOptions(withoutTemplates(text), mountKeys);
  const source = options.get("src") ?? "";
  const target = options.get("dst") ?? "";
  if (target === "") throw new UnitError(`'${text}': where to? add dst=/PATH`);
  const base = { target, readOnly: parseSwitch(text, options, "readonly") };
  const type = options.get("type") ?? "volume";
  const tmpfsOnly = ["size", "mode"].find((key) => options.has(key));
  if (type !== "tmpfs" && tmpfsOnly !== undefined) throw new UnitError(`${tmpfsOnly} belongs to type=tmpfs: ${text}`);
  switch (type) {
    case "bind":
      if (!source.startsWith("/")) throw new UnitError(`'${text}': a bind needs src=/PATH of the node`);
      return { ...base, source: { $case: "bind", value: { path: source } } };
    case "volume":
      if (source === "") throw new UnitError(`'${text}': which volume? add src=NAME`);
      if (source.startsWith("/")) throw new UnitError(`'${text}': for a path of the node give type=bind`);
      return { ...base, source: { $case: "volume", value: { name: source } } };
    case "tmpfs": {
      if (source !== "") throw new UnitError(`a tmpfs has no source: ${text}`);
      const mode = options.get("mode") ?? "0";
      if (!/^0?[0-7]{1,4}$/.test(mode)) throw new UnitError(`mode=${mode}: want octal permissions, as 1777`);
      const value = { sizeBytes: parseBytes(options.get("size") ?? "0"), mode: Number.parseInt(mode, 8) };
      return { ...base, source: { $case: "tmpfs", value } };
    }
    default:
      throw new UnitError(`type=${type}: want bind, volume or tmpfs`);
  }
}

const protocols = { tcp: PortSpec_Protocol.TCP, udp: PortSpec_Protocol.UDP };
const modes = { ingress: PortSpec_Mode.INGRESS, host: PortSpec_Mode.HOST };
const portKeys = { published: "published", target: "target", protocol: "protocol", mode: "mode" } as const;

interface Range {
  readonly first: number;
  readonly last: number;
}

/**
 * `8080:80`, `80`, `53:53/udp`, `8000-8002:80-82`, or `published=8080,target=80,protocol=tcp,mode=host`.
 *
 * @returns one, or as many as the range has
 */
export function parsePorts(text: string): PortSpec[] {
  const short = /^(?:([\d-]+):)?([\d-]+)(?:\/(\w+))?$/.exec(text);
  if (short === null && /^\[?[\da-f.:]+\]?:\d*:\d/i.test(text))
    throw new UnitError(`'${text}': a port is published on every address of the node; leave the address out`);
  const options = short === null ? parseOptions(text, portKeys) : undefined;
  const pick = <T>(kind: string, from: Readonly<Record<string, T>>, value: string): T => {
    const key = value.toLowerCase();
    const found = Object.hasOwn(from, key) ? from[key] : undefined;
    if (found === undefined) throw new UnitError(`'${text}': ${kind} is ${Object.keys(from).join(" or ")}`);
    return found;
  };
  const target = portRange(text, "target", short?.[2] ?? options?.get("target"), 1);
  const published = portRange(text, "published", short?.[1] ?? options?.get("published") ?? "0", 0);
  const count = target.last - target.first + 1;
  const isAny = published.first === 0 && published.last === 0;
  if (!isAny && published.last - published.first + 1 !== count)
    throw new UnitError(`'${text}': both ranges have as many ports`);
  const protocol = pick("protocol", protocols, short?.[3] ?? options?.get("protocol") ?? "tcp");
  const mode = pick("mode", modes, options?.get("mode") ?? "ingress");
  return Array.from({ length: count }, (_, i) => ({
    target: target.first + i,
    published: isAny ? 0 : published.first + i,
    protocol,
    mode,
  }));
}

function portRange(text: string, name: string, value: string | undefined, lowest: number): Range {
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(value ?? "") ?? [];
  const range = { first: Number(first), last: Number(last) };
  if (first !== undefined && range.first >= lowest && range.first <= range.last && range.last <= 65_535) return range;
  throw new UnitError(`'${text}': ${name} is a port from ${lowest === 0 ? "0 (any)" : lowest} to 65535`);
}

/** Which ports `--publish-rm` means: `80`, `80/udp`, `8080:80`. */
export function portMatcher(text: string): (port: PortSpec) => boolean {
  const [, published, target, protocol] = /^(?:(\d+):)?(\d+)(?:\/(tcp|udp))?$/i.exec(text) ?? [];
  return (port) =>
    String(port.target) === target &&
    (published === undefined || String(port.published) === published) &&
    (protocol === undefined || port.protocol === protocols[protocol.toLowerCase() as keyof typeof protocols]);
}

/** `back`, `back,alias=db,alias=cache`, or `name=back,alias=db`. */
export function parseNetwork(text: string): NetworkAttachment {
  let network = "";
  const aliases: string[] = [];
  for (const [index, part] of splitFields(text).entries()) {
    const [key, value] = index === 0 && !part.includes("=") ? ["name", part] : parseKeyValue(part);
    if (key === "name" && network === "") network = value;
    else if (key === "alias") aliases.push(value);
    else throw new UnitError(`'${part}' in '${text}': want alias=NAME`);
  }
  if (network === "") throw new UnitError(`'${text}': which network? give its name first`);
  return { network, aliases };
}

/** `nofile=1024`, `nofile=1024:4096`; `unlimited` is -1. */
export function parseUlimit(text: string): Ulimit {
  const [name, value] = parseKeyValue(text);
  const [soft = "", hard = soft, ...more] = value.split(":");
  const number = (part: string): number => {
    if (part === "unlimited") return -1;
    if (!/^(-1|\d{1,15})$/.test(part) || more.length > 0)
      throw new UnitError(`'${text}': want NAME=SOFT[:HARD], numbers or 'unlimited'`);
    return Number(part);
  };
  const limit = { name, soft: number(soft), hard: number(hard) };
  const rank = (each: number): number => (each === -1 ? Number.POSITIVE_INFINITY : each);
  if (rank(limit.soft) > rank(limit.hard)) throw new UnitError(`'${text}': the soft limit is above the hard one`);
  return limit;
}

/** `/dev/ttyUSB0`, `/dev/ttyUSB0:/dev/modem`, `/dev/ttyUSB0:r`, `/dev/ttyUSB0:/dev/modem:rw`. */
export function parseDevice(text: string): Device {
  const [source = "", second = "", third = "", ...more] = text.split(":");
  if (source === "" || more.length > 0) throw new UnitError(`'${text}': want SOURCE[:TARGET[:PERMISSIONS]]`);
  const isPermissions = third === "" && /^[rwm]+$/.test(second);
  return { source, target: isPermissions ? "" : second, permissions: isPermissions ? second : third };
}

/** A capability's one name among its spellings. */
export function capabilityName(text: string): string {
  return text.toUpperCase().replace(/^CAP_(?!ALL$)/, "");
}
