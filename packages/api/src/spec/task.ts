import { canonicalRegistry } from "@warren/std";
import { z } from "zod";
import { RestartPolicy_Condition, type TaskSpec } from "../generated/warren/v1/task.ts";
import { defaultRestartDelayMs } from "../model/spec-defaults.ts";
import { container } from "./container.ts";
import { choice, delayMs, duplicates, hasControl, list, name, whole } from "./fields.ts";
import { limits } from "./limits.ts";
import { crossRule, rule } from "./violations.ts";

function amount(least: number, most: number, unit: string): z.ZodNumber {
  return rule(z.number(), (value) =>
    value === 0 || (Number.isSafeInteger(value) && value >= least && value <= most)
      ? undefined
      : `want ${least.toLocaleString("en")} to ${most.toLocaleString("en")} ${unit}, or 0 for none, not ${value}`,
  );
}

const none = { cpuLimitNanos: 0, memoryLimitBytes: 0, pidsLimit: 0, cpuReservationNanos: 0, memoryReservationBytes: 0 };
const resources = crossRule(
  z.object({
    cpuLimitNanos: amount(limits.leastCpuNanos, limits.mostCpuNanos, "nano-CPUs (1,000,000,000 are a core)"),
    memoryLimitBytes: amount(limits.leastMemoryBytes, limits.mostMemoryBytes, "bytes"),
    pidsLimit: rule(z.number(), (value) =>
      value === -1 || (Number.isSafeInteger(value) && value >= 0 && value <= limits.pids)
        ? undefined
        : `want 1 to ${limits.pids.toLocaleString("en")} processes, 0 for the default of ${limits.defaultPids.toLocaleString("en")} or -1 for no limit, not ${value}`,
    ),
    cpuReservationNanos: amount(1, limits.mostCpuNanos, "nano-CPUs (1,000,000,000 are a core)"),
    memoryReservationBytes: amount(1, limits.mostMemoryBytes, "bytes"),
  }),
  (value, fault) => {
    const above = (kept: number, most: number): boolean => most > 0 && kept > most;
    if (above(value.memoryReservationBytes, value.memoryLimitBytes))
      fault(["memoryReservationBytes"], `must not be above memory_limit_bytes, which is ${value.memoryLimitBytes}`);
    if (above(value.cpuReservationNanos, value.cpuLimitNanos))
      fault(["cpuReservationNanos"], `must not be above cpu_limit_nanos, which is ${value.cpuLimitNanos}`);
  },
).default(none);

const restart = z
  .object({
    condition: choice(RestartPolicy_Condition, RestartPolicy_Condition.ANY),
    delayMs: delayMs.default(defaultRestartDelayMs),
    maxAttempts: whole(0, 1_000_000),
    windowMs: whole(0, limits.windowMs, " ms (30 days)"),
  })
  .default({ condition: RestartPolicy_Condition.ANY, delayMs: defaultRestartDelayMs, maxAttempts: 0, windowMs: 0 });

const placement = z
  .object({
    constraints: list(
      rule(z.string(), (value) =>
        value.trim() === "" || value.length > limits.constraintCharacters
          ? `want 1 to ${limits.constraintCharacters} characters, such as node.labels.zone == north`
          : undefined,
      ),
      limits.constraints,
    ),
    maxReplicasPerNode: whole(0, limits.replicas),
  })
  .default({ constraints: [], maxReplicasPerNode: 0 });

const attachment = crossRule(
  z.object({
    network: rule(z.string(), (value) => (value === "" ? "name a network" : undefined)),
    aliases: list(name, limits.aliases),
  }),
  ({ aliases }, fault) =>
    duplicates(
      aliases,
      (alias) => alias,
      (i, first) => fault(["aliases", i], `is aliases[${first}] again`),
    ),
);

/** What a registry is logged in with. */
export const registryAuth: z.ZodObject<{ username: z.ZodString; password: z.ZodString }> = z.object({
  username: rule(z.string(), (value) =>
    value === "" || value.includes(":") || hasControl(value) || Buffer.byteLength(value) > 1_024
      ? "want a name without colons and control characters, at most 1,024 bytes"
      : undefined,
  ),
  password: rule(z.string(), (value) =>
    value === "" || Buffer.byteLength(value) > limits.credentialBytes
      ? `want 1 to ${limits.credentialBytes.toLocaleString("en")} bytes`
      : undefined,
  ),
});

export const task: z.ZodType<TaskSpec> = crossRule(
  z.object({
    container: rule(container.optional(), (value) =>
      value === undefined ? "is missing: say at least which image" : undefined,
    ),
    resources,
    restart,
    placement,
    networks: list(attachment, limits.networks),
    forceUpdate: whole(0, Number.MAX_SAFE_INTEGER),
    registryLogin: rule(z.string(), (value) =>
      value === "" || /^[a-zA-Z0-9.:_-]{1,255}$/.test(value)
        ? undefined
        : "want the name of a registry that is logged in to, such as registry.example:5000",
    )
      .default("")
      .transform(canonicalRegistry),
  }),
  ({ networks }, fault) =>
    duplicates(
      networks,
      (each) => each.network,
      (i, first) => fault(["networks", i, "network"], `is networks[${first}] again`),
    ),
) as unknown as z.ZodType<TaskSpec>;
