import { ApiError, ServiceSpec } from "@warren/api";
import { checkServiceSpec } from "@warren/api/spec";
import * as fc from "fast-check";
import { expect, it } from "vitest";

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.constantFrom("", "web", "/data", "/", "/a/../b", "nginx:1", "a@sha256:0", "10.0.0.1", "CAP_ALL", "\0", "SIGTERM"),
);
const number = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.constantFrom(0, -1, 1, 80, 65_536, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY),
);
const words = fc.array(text, { maxLength: 3 });
const map = fc.dictionary(text, text, { maxKeys: 3 });
const some = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });

const mount = fc.record({
  source: some(
    fc.oneof(
      fc.record({ $case: fc.constant("bind"), value: fc.record({ path: text }) }),
      fc.record({ $case: fc.constant("volume"), value: fc.record({ name: text }) }),
      fc.record({ $case: fc.constant("tmpfs"), value: fc.record({ sizeBytes: number, mode: number }) }),
      fc.record({ $case: text, value: fc.anything() }),
    ),
  ),
  target: text,
  readOnly: fc.boolean(),
});
const probe = fc.oneof(
  fc.record({ $case: fc.constant("http"), value: fc.record({ port: number, path: text }) }),
  fc.record({ $case: fc.constant("tcp"), value: fc.record({ port: number }) }),
  fc.record({ $case: fc.constant("exec"), value: fc.record({ command: words }) }),
);
const container = fc.record({
  image: text,
  command: words,
  args: words,
  env: map,
  workingDir: text,
  user: text,
  groups: words,
  hostname: text,
  labels: map,
  mounts: fc.array(mount, { maxLength: 3 }),
  readOnlyRoot: fc.boolean(),
  capabilityAdd: words,
  capabilityDrop: words,
  sysctls: map,
  ulimits: fc.array(fc.record({ name: text, soft: number, hard: number }), { maxLength: 2 }),
  devices: fc.array(fc.record({ source: text, target: text, permissions: text }), { maxLength: 2 }),
  extraHosts: map,
  dns: some(fc.record({ servers: words, search: words, options: words })),
  init: fc.boolean(),
  tty: fc.boolean(),
  noNewPrivileges: fc.boolean(),
  stopSignal: text,
  stopGraceMs: some(number),
  healthCheck: some(
    fc.record({ probe: some(probe), intervalMs: number, timeoutMs: number, retries: number, startPeriodMs: number }),
  ),
  logRotation: some(fc.record({ maxFileBytes: number, maxFiles: number })),
});
const update = some(
  fc.record({
    parallelism: some(number),
    delayMs: number,
    order: number,
    failureAction: number,
    monitorMs: some(number),
    maxFailureRatio: number,
  }),
);
const spec = fc.record({
  name: text,
  labels: map,
  task: some(
    fc.record({
      container: some(container),
      resources: some(
        fc.record({
          cpuLimitNanos: number,
          memoryLimitBytes: number,
          pidsLimit: number,
          cpuReservationNanos: number,
          memoryReservationBytes: number,
        }),
      ),
      restart: some(fc.record({ condition: number, delayMs: some(number), maxAttempts: number, windowMs: number })),
      placement: some(fc.record({ constraints: words, maxReplicasPerNode: number })),
      networks: fc.array(fc.record({ network: text, aliases: words }), { maxLength: 3 }),
      forceUpdate: number,
      registryLogin: text,
    }),
  ),
  mode: some(fc.record({ $case: fc.constant("replicated"), value: fc.record({ replicas: number }) })),
  update,
  rollback: update,
  ports: fc.array(fc.record({ target: number, published: number, protocol: number, mode: number }), { maxLength: 3 }),
});

const path = /^spec(?:\.[a-z_]+|\[\d+\]|\["(?:[^"\\]|\\.)*"\])*$/;

function outcome(given: unknown): ServiceSpec | ApiError {
  try {
    return checkServiceSpec(given as ServiceSpec);
  } catch (error) {
    if (ApiError.is(error, "API_INVALID")) return error;
    throw error;
  }
}

it(
  "whatever is given is completed, or refused with paths of fields and words for each; nothing else is thrown",
  { timeout: 30_000 },
  () => {
    fc.assert(
      fc.property(spec, (given) => {
        const result = outcome(given);
        if (!ApiError.is(result, "API_INVALID")) return;
        expect(result.failure.violations.length).toBeGreaterThan(0);
        const strange = result.failure.violations.filter(
          ({ field, description }) => !path.test(field) || description === "",
        );
        expect(strange).toEqual([]);
      }),
      { numRuns: 500 },
    );
  },
);

it("what is not even a message of that kind is refused too", { timeout: 30_000 }, () => {
  fc.assert(
    fc.property(fc.anything(), (given) => void outcome(given)),
    { numRuns: 1_000 },
  );
});

it(
  "a spec that is completed is right, stays as it is when it is checked again, and survives the wire",
  { timeout: 30_000 },
  () => {
    const good = fc.record({
      name: fc.stringMatching(/^[a-z][a-z0-9]{0,20}$/),
      labels: fc.dictionary(fc.stringMatching(/^[a-z.]{1,9}$/), fc.string({ maxLength: 9 })),
      task: fc.record({
        container: fc.record({
          image: fc.stringMatching(/^[a-z]{1,9}(\/[a-z]{1,9})?(:[a-z0-9]{1,5})?$/),
          args: fc.array(fc.string({ maxLength: 9 }).map((word) => word.replaceAll("\0", ""))),
          env: fc.dictionary(fc.stringMatching(/^[A-Z_]{1,9}$/), fc.stringMatching(/^[ -~]{0,9}$/)),
          stopGraceMs: some(fc.nat(86_400_000)),
          mounts: fc.uniqueArray(
            fc.stringMatching(/^\/[a-z]{1,9}$/).map((target) => ({
              source: { $case: "tmpfs" as const, value: { sizeBytes: 0, mode: 0 } },
              target,
            })),
            { selector: ({ target }) => target, maxLength: 4 },
          ),
        }),
        forceUpdate: fc.nat(),
      }),
      ports: fc.uniqueArray(
        fc.record({ target: fc.integer({ min: 1, max: 65_535 }), published: fc.integer({ min: 1, max: 65_535 }) }),
        { selector: ({ published }) => published, maxLength: 5 },
      ),
    });
    fc.assert(
      fc.property(good, (given) => {
        const completed = checkServiceSpec(ServiceSpec.fromPartial(given));
        expect(checkServiceSpec(completed)).toEqual(completed);
        expect(ServiceSpec.decode(ServiceSpec.encode(completed).finish())).toEqual(completed);
      }),
      { numRuns: 500 },
    );
  },
);
