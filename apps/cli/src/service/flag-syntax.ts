/** The small languages that flags are written in. Pure. */
import {
  PortSpec_Mode,
  PortSpec_Protocol,
  type Device,
  type Mount,
  type NetworkAttachment,
  type PortSpec,
  type Ulimit,
} from "@warren/api";
import { parseBytes, UnitError } from "../units.ts";

/** `KEY=VALUE`; the value may be empty and hold more `=`. */
export function parseKeyValue(text: string): [string, string] {
  const at = text.indexOf("=");
  if (at < 1) throw new UnitError(`'${text}': want KEY=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
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

/** `key=value,key=value`; a part without `=` is a switch. */
function parseOptions(text: string, known: readonly string[]): Map<string, string> {
  const options = new Map<string, string>();
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    const key = at === -1 ? part : part.slice(0, at);
    if (!known.includes(key)) throw new UnitError(`'${part}' in '${text}': want ${known.join(", ")}`);
    options.set(key, at === -1 ? "" : part.slice(at + 1));
  }
  return options;
}

const mountKeys = ["type", "src", "source", "dst", "destination", "target", "ro", "readonly", "size", "mode"];

/** `type=volume,src=data,dst=/data,ro`. */
export function parseMount(text: string): Mount {
  const options = parseOptions(text, mountKeys);
  const source = options.get("src") ?? options.get("source") ?? "";
  const target = options.get("dst") ?? options.get("destination") ?? options.get("target") ?? "";
  const readOnly = ["ro", "readonly"].some((key) => options.has(key) && options.get(key) !== "false");
  const base = { target, readOnly };
  const type = options.get("type") ?? "volume";
  const tmpfsOnly = ["size", "mode"].find((key) => options.has(key));
  if (type !== "tmpfs" && tmpfsOnly !== undefined) throw new UnitError(`${tmpfsOnly} belongs to type=tmpfs: ${text}`);
  switch (type) {
    case "bind":
      return { ...base, source: { $case: "bind", value: { path: source } } };
    case "volume":
      return { ...base, source: { $case: "volume", value: { name: source } } };
    case "tmpfs": {
      if (source !== "") throw new UnitError(`a tmpfs has no source: ${text}`);
      const mode = options.get("mode") ?? "0";
      if (!/^[0-7]{1,4}$/.test(mode)) throw new UnitError(`mode=${mode}: want octal permissions, as 1777`);
      const value = { sizeBytes: parseBytes(options.get("size") ?? "0"), mode: Number.parseInt(mode, 8) };
      return { ...base, source: { $case: "tmpfs", value } };
    }
    default:
      throw new UnitError(`type=${type}: want bind, volume or tmpfs`);
  }
}

const protocols = { tcp: PortSpec_Protocol.TCP, udp: PortSpec_Protocol.UDP };
const modes = { ingress: PortSpec_Mode.INGRESS, host: PortSpec_Mode.HOST };

/** `8080:80`, `80`, `53:53/udp`, or `published=8080,target=80,protocol=tcp,mode=host`. */
export function parsePort(text: string): PortSpec {
  const short = /^(?:(\d+):)?(\d+)(?:\/(\w+))?$/.exec(text);
  const options = short === null ? parseOptions(text, ["published", "target", "protocol", "mode"]) : undefined;
  const number = (name: string, value: string | undefined, lowest: number): number => {
    const parsed = Number(value);
    if (value !== undefined && /^\d+$/.test(value) && parsed >= lowest && parsed <= 65_535) return parsed;
    throw new UnitError(`'${text}': ${name} is a port from ${lowest === 0 ? "0 (any)" : lowest} to 65535`);
  };
  const pick = <T>(kind: string, from: Readonly<Record<string, T>>, value: string): T => {
    const found = Object.hasOwn(from, value) ? from[value] : undefined;
    if (found === undefined) throw new UnitError(`'${text}': ${kind} is ${Object.keys(from).join(" or ")}`);
    return found;
  };
  return {
    target: number("target", short?.[2] ?? options?.get("target"), 1),
    published: number("published", short?.[1] ?? options?.get("published") ?? "0", 0),
    protocol: pick("protocol", protocols, short?.[3] ?? options?.get("protocol") ?? "tcp"),
    mode: pick("mode", modes, options?.get("mode") ?? "ingress"),
  };
}

/** `back` or `back,alias=db,alias=cache`. */
export function parseNetwork(text: string): NetworkAttachment {
  const [network = "", ...rest] = text.split(",");
  const aliases = rest.map((part) => {
    const [key, value] = parseKeyValue(part);
    if (key !== "alias") throw new UnitError(`'${part}' in '${text}': want alias=NAME`);
    return value;
  });
  return { network, aliases };
}

/** `nofile=1024`, `nofile=1024:4096`; `unlimited` is -1. */
export function parseUlimit(text: string): Ulimit {
  const [name, value] = parseKeyValue(text);
  const [soft = "", hard = soft] = value.split(":");
  const number = (part: string): number => {
    if (part === "unlimited") return -1;
    if (!/^(-1|\d+)$/.test(part)) throw new UnitError(`'${text}': want NAME=SOFT[:HARD], numbers or 'unlimited'`);
    return Number(part);
  };
  return { name, soft: number(soft), hard: number(hard) };
}

/** `/dev/ttyUSB0`, `/dev/ttyUSB0:/dev/modem`, `/dev/ttyUSB0:/dev/modem:rw`. */
export function parseDevice(text: string): Device {
  const [source = "", target = "", permissions = "", ...more] = text.split(":");
  if (source === "" || more.length > 0) throw new UnitError(`'${text}': want SOURCE[:TARGET[:PERMISSIONS]]`);
  return { source, target, permissions };
}
