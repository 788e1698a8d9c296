/** The contracts of the interfaces, on the real forms and on the fakes. */
import { expect, describe, test } from "vitest";
import { systemBootClock, systemClock, systemRandom } from "@warren/std";
import {
  bootClockContract,
  clockContract,
  FakeClock,
  loggerContract,
  metricsContract,
  randomContract,
  RecordingLogger,
  RecordingMetrics,
  seededRandom,
  testSeed,
  type MetricsUnderTest,
} from "@warren/std/testing";

const real = (ms: number): Promise<void> => new Promise((resolve) => systemClock.setTimeout(resolve, ms));

describe.each(clockContract)("a clock $title", ({ run }) => {
  test("the system's", () => run({ clock: systemClock, pass: real }));
  test("the fake", () => {
    const clock = new FakeClock();
    return run({ clock, pass: (ms) => clock.advanceAsync(ms) });
  });
});

test.each(bootClockContract)("a boot clock $title", async ({ run }) => {
  await run({ clock: systemBootClock, pass: real });
  const clock = new FakeClock();
  await run({ clock, pass: (ms) => clock.advanceAsync(ms) });
});

describe.each(randomContract)("randomness $title", ({ run }) => {
  test("the system's", () => run(systemRandom));
  test("seeded", () => run(seededRandom(testSeed())));
});

test.each(loggerContract)("a logger that records $title", ({ run }) => {
  const log = new RecordingLogger();
  return run({ log, records: () => log.records });
});

function recording(): MetricsUnderTest {
  const metrics = new RecordingMetrics();
  return {
    metrics,
    value: async (name, labels) => {
      const pairs = Object.entries(labels ?? {}).map(([label, value]) => `${label}="${value}"`);
      return metrics.values.get(pairs.length === 0 ? name : `${name}{${pairs.join(",")}}`);
    },
    observed: async (name) => {
      const values = metrics.observations.get(name) ?? [];
      return { count: values.length, sum: values.reduce((sum, value) => sum + value, 0) };
    },
  };
}
test.each(metricsContract)("metrics that are recorded: it $title", ({ run }) => run(recording()));

test("recorded metrics are found by their names and labels as Prometheus writes them", () => {
  const metrics = new RecordingMetrics();
  metrics.counter({ name: "c_total", help: "", labels: ["b", "a"] }).add(1, { a: "1", b: "2" });
  expect([...metrics.values.keys()]).toEqual(['c_total{b="2",a="1"}']);
});
