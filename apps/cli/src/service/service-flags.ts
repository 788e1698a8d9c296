/**
 * Flags of `service create` and `service update`. `create` applies them to an empty spec, `update` to the one that there
 * is: a flag that is given replaces, adds by key where it has one, and leaves all else alone.
 */
import { Flags } from "@oclif/core";
import { HealthCheck, type ServiceSpec } from "@warren/api";
import type { FieldWords } from "../field-words.ts";
import { formatBytes, UnitError } from "../units.ts";
import { openDraft, removals, switches, uses, type Draft } from "./flag-table.ts";

type AnyFlags = Record<string, ReturnType<typeof Flags.string> | ReturnType<typeof Flags.boolean>>;

function declare(): AnyFlags {
  const flags: AnyFlags = {};
  for (const [name, { help, char, multiple, group, options, value }] of Object.entries(uses)) {
    const helpValue = options === undefined ? value : options.join("|");
    const settings = {
      description: help,
      helpGroup: group,
      helpValue,
      ...(char && { char }),
      ...(options && { options }),
    };
    flags[name] = (
      multiple ? Flags.string({ ...settings, multiple: true, multipleNonGreedy: true }) : Flags.string(settings)
    ) as AnyFlags[string];
  }
  for (const [name, { help, char, group }] of Object.entries(switches)) {
    flags[name] = Flags.boolean({ description: help, helpGroup: group, allowNo: true, ...(char && { char }) });
  }
  return flags;
}

/** The flags of `service create` and `service update`, for oclif. */
export const serviceFlags: AnyFlags = declare();

/** Of `service update` alone. */
export const removalFlags: AnyFlags = Object.fromEntries(
  Object.entries(removals).map(([name, { help, value }]) => [
    name,
    Flags.string({
      description: `Remove ${help}`,
      helpGroup: "REMOVAL",
      helpValue: value,
      multiple: true,
      multipleNonGreedy: true,
    }) as unknown as AnyFlags[string],
  ]),
);

/** What `--help` shows of them. */
export const commonServiceFlags: readonly string[] = Object.keys(uses).filter((name) => uses[name]?.common === true);

/** What sets which field of a service's spec. */
export const serviceFieldWords: FieldWords = {
  "spec.name": "NAME",
  "spec.replicated.replicas": "--replicas",
  "spec.task.container.args": "the arguments after --",
  "spec.task.container.health_check": "--health-cmd",
  ...Object.fromEntries(
    Object.entries({ ...uses, ...switches })
      .filter(([name]) => name !== "env-file")
      .map(([name, { field }]) => [`spec.${field}`, `--${name}`]),
  ),
};

/** Without a value, so that it is in neither table. */
export const noHealthcheckFlag: AnyFlags = {
  "no-healthcheck": Flags.boolean({
    description: "No health check, whatever the image says (HEALTHCHECK)",
    helpGroup: "HEALTH",
  }),
};

/**
 * Applies the flags that were given to a spec.
 *
 * @param args what stood after `--`; undefined leaves the arguments alone
 * @returns a new spec
 * @throws UnitError with the flag's name before it
 */
export function applyServiceFlags(
  before: ServiceSpec,
  flags: Readonly<Record<string, unknown>>,
  args: readonly string[] | undefined,
): ServiceSpec {
  const draft = openDraft(before);
  const given = (name: string): readonly string[] => {
    const value = flags[name];
    return value === undefined ? [] : Array.isArray(value) ? (value as string[]) : [value as string];
  };
  const naming = (name: string, value: string, work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof UnitError)) throw error;
      const shown = value.length > mostShown ? `${value.slice(0, mostShown)}…` : value;
      throw new UnitError(`--${name}: ${error.message.replaceAll(value || "''", shown || "''")}`);
    }
  };
  for (const [name, { take }] of Object.entries(removals)) {
    for (const key of given(name)) {
      naming(name, key, () => {
        if (!take(draft, key)) throw new UnitError(`the service has no '${key}'`);
      });
    }
  }
  if (flags["no-healthcheck"] === true) naming("no-healthcheck", "", () => turnOffHealthCheck(draft, flags));
  // The file first: what is given one by one goes before it.
  const order = Object.keys(uses).toSorted((a, b) => Number(b === "env-file") - Number(a === "env-file"));
  for (const name of order) for (const value of given(name)) naming(name, value, () => uses[name]?.set(draft, value));
  for (const [name, { turn }] of Object.entries(switches))
    if (typeof flags[name] === "boolean") turn(draft, flags[name]);
  if (args !== undefined) draft.container.args = [...args];
  checkTogether(draft, (name) => flags[name] !== undefined);
  return draft.spec;
}

/** Characters of what was typed that an error repeats. */
const mostShown = 80;

function turnOffHealthCheck({ container }: Draft, flags: Readonly<Record<string, unknown>>): void {
  const other = Object.keys(uses).find((name) => uses[name]?.group === "HEALTH" && flags[name] !== undefined);
  if (other !== undefined) throw new UnitError(`--${other} asks for a health check: give one of them`);
  container.healthCheck = HealthCheck.create({ probe: { $case: "none", value: {} } });
}

const healthTimes = ["health-interval", "health-timeout", "health-retries", "health-start-period"];

/** What only several flags together can get wrong. @throws UnitError */
function checkTogether({ container, resources }: Draft, isGiven: (flag: string) => boolean): void {
  const time = healthTimes.find(isGiven);
  if (time !== undefined && (container.healthCheck?.probe?.$case ?? "none") === "none")
    throw new UnitError(`--${time}: there is no health check; add --health-http, --health-tcp or --health-cmd`);
  const { memoryLimitBytes, memoryReservationBytes, cpuLimitNanos, cpuReservationNanos } = resources;
  if (memoryLimitBytes > 0 && memoryReservationBytes > memoryLimitBytes)
    throw new UnitError(
      `--reserve-memory: ${formatBytes(memoryReservationBytes)} is more than --limit-memory, which is ${formatBytes(memoryLimitBytes)}`,
    );
  if (cpuLimitNanos > 0 && cpuReservationNanos > cpuLimitNanos)
    throw new UnitError(
      `--reserve-cpu: ${cpuReservationNanos / 1e9} is more than --limit-cpu, which is ${cpuLimitNanos / 1e9}`,
    );
}
