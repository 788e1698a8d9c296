import { noMetrics, type Counter, type Gauge, type Histogram, type Metrics } from "@warren/std";

export interface AgentMetrics {
  /** 1 while a manager is connected. */
  readonly connected: Gauge;
  readonly leases: Gauge;
  /** By the state of the ended task. */
  readonly ended: Counter;
  /** From the assignment of a task to RUNNING. */
  readonly startSeconds: Histogram;
  readonly probeFailures: Counter;
}

export function agentMetrics(metrics: Metrics = noMetrics): AgentMetrics {
  return {
    connected: metrics.gauge({ name: "warren_agent_connected", help: "Whether a manager is connected." }),
    leases: metrics.gauge({ name: "warren_agent_leases", help: "Leases of this node, released ones included." }),
    ended: metrics.counter({
      name: "warren_agent_tasks_ended_total",
      help: "Tasks ended, by the state that they ended in.",
      labels: ["state"],
    }),
    startSeconds: metrics.histogram({
      name: "warren_agent_task_start_seconds",
      help: "From the assignment of a task to its running.",
      buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    }),
    probeFailures: metrics.counter({ name: "warren_agent_probe_failures_total", help: "Health probes that failed." }),
  };
}
