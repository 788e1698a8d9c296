import type { Counter, Gauge, Histogram, Metrics } from "@warren/std";

export interface OrchestratorMetrics {
  readonly transactions: Counter;
  readonly transactionSeconds: Histogram;
  readonly failures: Counter;
  readonly resyncFinds: Counter;
  readonly placements: Counter;
  readonly scheduleSeconds: Histogram;
  readonly waiting: Gauge;
}

export function orchestratorMetrics(metrics: Metrics): OrchestratorMetrics {
  const labels = ["loop"];
  return {
    transactions: metrics.counter({
      name: "warren_orchestrator_transactions_total",
      help: "Transactions that wrote something.",
      labels,
    }),
    transactionSeconds: metrics.histogram({
      name: "warren_orchestrator_transaction_seconds",
      help: "From the start of a transaction until it was applied.",
      labels,
    }),
    failures: metrics.counter({
      name: "warren_orchestrator_failures_total",
      help: "Steps that failed and are tried again.",
      labels,
    }),
    resyncFinds: metrics.counter({
      name: "warren_orchestrator_resync_finds_total",
      help: "Full passes by time that found something to do, which an event should have announced.",
      labels,
    }),
    placements: metrics.counter({
      name: "warren_orchestrator_placements_total",
      help: "Leases that got a node.",
    }),
    scheduleSeconds: metrics.histogram({
      name: "warren_orchestrator_schedule_seconds",
      help: "Time to decide on the tasks of one pass, without writing it.",
    }),
    waiting: metrics.gauge({
      name: "warren_orchestrator_waiting_tasks",
      help: "Tasks that the last pass found no node for, summed over those that still wait.",
    }),
  };
}
