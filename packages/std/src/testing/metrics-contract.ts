/** What every `Metrics` that keeps its values must do. */
import { assert } from "../error.ts";
import type { MetricLabels, Metrics } from "../metrics.ts";
import type { ContractCase } from "./contract.ts";

export interface MetricsUnderTest {
  readonly metrics: Metrics;
  /** A counter's sum or a gauge's value for these labels; undefined if it has none. */
  readonly value: (name: string, labels?: MetricLabels) => Promise<number | undefined>;
  /** How often a histogram was given a value, and their sum. */
  readonly observed: (name: string) => Promise<{ readonly count: number; readonly sum: number }>;
}

const help = "of the contract";

export const metricsContract: readonly ContractCase<MetricsUnderTest>[] = [
  {
    title: "sums up a counter, by 1 unless a number is given, and for each combination of labels",
    async run({ metrics, value }) {
      const counter = metrics.counter({ name: "contract_plain_total", help });
      counter.add();
      counter.add(2.5);
      assert((await value("contract_plain_total")) === 3.5, "the sum");
      const labelled = metrics.counter({ name: "contract_labelled_total", help, labels: ["kind", "how"] });
      labelled.add(1, { kind: "a", how: "x" });
      labelled.add(2, { how: "x", kind: "a" });
      labelled.add(5, { kind: "b", how: "x" });
      assert((await value("contract_labelled_total", { kind: "a", how: "x" })) === 3, "labels in any order");
      assert((await value("contract_labelled_total", { kind: "b", how: "x" })) === 5, "another series");
    },
  },
  {
    title: "keeps the last value of a gauge, below zero too",
    async run({ metrics, value }) {
      const gauge = metrics.gauge({ name: "contract_gauge", help, labels: ["kind"] });
      for (const each of [7, -2]) gauge.set(each, { kind: "a" });
      assert((await value("contract_gauge", { kind: "a" })) === -2, "the last one");
    },
  },
  {
    title: "counts what a histogram observes",
    async run({ metrics, observed }) {
      const histogram = metrics.histogram({ name: "contract_seconds", help, buckets: [0.1, 1] });
      for (const each of [0.05, 0.5, 5]) histogram.observe(each);
      const { count, sum } = await observed("contract_seconds");
      assert(count === 3 && sum === 5.55, `3 of 5.55 in all, not ${count} of ${sum}`);
    },
  },
  {
    title: "has one metric of a name, whoever asks for it again",
    async run({ metrics, value }) {
      for (const _ of [1, 2]) metrics.counter({ name: "contract_twice_total", help }).add(2);
      assert((await value("contract_twice_total")) === 4, "both are counted");
    },
  },
  {
    title:
      "counts nothing for what is not allowed, and throws nothing: a counter that falls, a label that was not declared",
    async run({ metrics, value }) {
      const counter = metrics.counter({ name: "contract_refused_total", help, labels: ["kind"] });
      counter.add(3, { kind: "a" });
      counter.add(-1, { kind: "a" });
      assert((await value("contract_refused_total", { kind: "a" })) === 3, "it does not fall");
      counter.add(1, { other: "label" });
      assert((await value("contract_refused_total", { other: "label" })) === undefined, "there is no such series");
    },
  },
];
