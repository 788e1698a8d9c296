import type { Counter, Gauge, Metrics } from "@warren/std";

export interface DispatcherMetrics {
  readonly sessions: Gauge;
  readonly nodesDown: Counter;
  readonly assignmentMessages: Counter;
  readonly assignmentChanges: Counter;
  readonly statusUpdates: Counter;
  readonly relays: Gauge;
}

export function dispatcherMetrics(metrics: Metrics): DispatcherMetrics {
  const named = (name: string, help: string, labels: readonly string[] = []): Parameters<Metrics["counter"]>[0] => ({
    name: `warren_dispatcher_${name}`,
    help,
    labels,
  });
  return {
    sessions: metrics.gauge(named("sessions", "Nodes that have a session with this manager.")),
    nodesDown: metrics.counter(named("nodes_down_total", "Times that a node fell silent.")),
    assignmentMessages: metrics.counter(named("assignment_messages_total", "Messages of assignments sent.", ["type"])),
    assignmentChanges: metrics.counter(named("assignment_changes_total", "Changes in those messages.")),
    statusUpdates: metrics.counter(
      named("status_updates_total", "What nodes told of tasks, by what became of it.", ["result"]),
    ),
    relays: metrics.gauge(named("relays", "Logs, execs and measurements that nodes are asked for now.")),
  };
}
