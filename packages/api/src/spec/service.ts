import { z } from "zod";
import {
  PortSpec_Mode,
  PortSpec_Protocol,
  ServiceSpec,
  UpdateConfig_FailureAction,
  UpdateConfig_Order,
  type PortSpec,
  type UpdateConfig,
} from "../generated/warren/v1/service.ts";
import { invalid } from "../errors.ts";
import { defaultMonitorMs, defaultParallelism } from "../model/spec-defaults.ts";
import { choice, delayMs, duplicates, labels, list, name, port, whole } from "./fields.ts";
import { limits } from "./limits.ts";
import { task } from "./task.ts";
import { check, crossRule, rule } from "./violations.ts";

const usual = {
  parallelism: defaultParallelism,
  delayMs: 0,
  order: UpdateConfig_Order.STOP_FIRST,
  failureAction: UpdateConfig_FailureAction.PAUSE,
  monitorMs: defaultMonitorMs,
  maxFailureRatio: 0,
  progressDeadlineMs: 600_000,
} satisfies UpdateConfig;

const updateFields = z.object({
  parallelism: whole(0, limits.replicas).default(usual.parallelism),
  delayMs,
  order: choice(UpdateConfig_Order, usual.order),
  failureAction: choice(UpdateConfig_FailureAction, usual.failureAction),
  monitorMs: delayMs.default(usual.monitorMs),
  maxFailureRatio: rule(z.number(), (value) =>
    value >= 0 && value <= 1 ? undefined : `want a share from 0 to 1, not ${value}`,
  ),
  progressDeadlineMs: delayMs.default(usual.progressDeadlineMs),
});
const rollbackFields = crossRule(updateFields, ({ failureAction }, fault) => {
  if (failureAction === UpdateConfig_FailureAction.ROLLBACK)
    fault(["failureAction"], "a rollback is never rolled back: want PAUSE or CONTINUE");
});

const publishedPort = z.object({
  target: port,
  published: whole(0, 65_535),
  protocol: choice(PortSpec_Protocol, PortSpec_Protocol.TCP),
  mode: choice(PortSpec_Mode, PortSpec_Mode.INGRESS),
});

/** `80/tcp`: what only one may hold. */
export function publishedKey({ published, protocol }: PortSpec): string {
  return `${published}/${protocol === PortSpec_Protocol.UDP ? "udp" : "tcp"}`;
}

const mode = z
  .discriminatedUnion(
    "$case",
    [z.object({ $case: z.literal("replicated"), value: z.object({ replicas: whole(0, limits.replicas) }) })],
    { error: "want replicated" },
  )
  .default({ $case: "replicated", value: { replicas: 1 } });

const service: z.ZodType<ServiceSpec> = crossRule(
  z.object({
    name,
    labels,
    task: rule(task.optional(), (value) =>
      value === undefined ? "is missing: say at least task.container.image" : undefined,
    ),
    mode,
    update: updateFields.default(usual),
    rollback: rollbackFields.default(usual),
    ports: list(publishedPort, limits.ports),
  }),
  ({ ports }, fault) => {
    duplicates(
      ports as readonly PortSpec[],
      (each) => (each.published === 0 ? undefined : publishedKey(each)),
      (i, first, key) => fault(["ports", i, "published"], `${key} is published by ports[${first}] already`),
    );
    duplicates(
      ports as readonly PortSpec[],
      ({ published, target, protocol, mode }) => (published === 0 ? `${target} ${protocol} ${mode}` : undefined),
      (i, first) => fault(["ports", i], `is ports[${first}] again`),
    );
  },
) as unknown as z.ZodType<ServiceSpec>;

/**
 * The spec with every default in it, or an error that names each field that is wrong. Whether networks exist, ports are
 * free and constraints can be read is for whoever knows the cluster.
 *
 * @param field the path of the spec in its request
 * @throws ApiError `API_INVALID`
 */
export function checkServiceSpec(spec: ServiceSpec | undefined, field: string = "spec"): ServiceSpec {
  if (spec === undefined) throw invalid([{ field, description: "is missing" }]);
  mustFit(bytesOf(spec), field); // Before the rest, which takes the longer the larger it is.
  const checked = check(service, spec, field);
  mustFit(bytesOf(checked), field);
  return checked;
}

function mustFit(bytes: number, field: string): void {
  if (bytes <= limits.specBytes) return;
  const most = limits.specBytes.toLocaleString("en");
  throw invalid([{ field, description: `has ${bytes.toLocaleString("en")} bytes; at most ${most} are allowed` }]);
}

/** 0 for a value that is no message, which is an error by field. */
function bytesOf(spec: ServiceSpec): number {
  try {
    return ServiceSpec.encode(spec).finish().length;
  } catch {
    return 0;
  }
}
