import { RuntimeError, type ContainerSpec } from "@warren/runtime";
import { capabilities as usual } from "./docker-defaults.ts";

/** Linux's capabilities by number. */
const all: readonly string[] = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE " +
  "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN " +
  "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE " +
  "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
  .split(" ")
  .map((name) => `CAP_${name}`);

/** Those that Docker gives, less those dropped, and those added: what is added wins. */
export function capabilitiesOf(spec: ContainerSpec): Set<string> {
  const dropped = named("capabilityDrop", spec.capabilityDrop);
  return new Set([...usual.filter((name) => !dropped.has(name)), ...named("capabilityAdd", spec.capabilityAdd)]);
}

function named(field: string, names: readonly string[] = []): Set<string> {
  const result = new Set<string>();
  for (const given of names) {
    const upper = given.toUpperCase();
    const name = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
    if (upper === "ALL") for (const each of all) result.add(each);
    else if (all.includes(name)) result.add(name);
    else throw new RuntimeError({ code: "RUNTIME_SPEC_INVALID", field }, `${field}: "${given}" is no Linux capability`);
  }
  return result;
}
