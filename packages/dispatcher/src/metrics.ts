import type { Counter, Gauge, Metrics } from "@warren/std";

export interface DispatcherMetrics {
  readonly sessions: Gauge;
  readonly nodesDown: Counter;
  readonly assignmentMessages: Counter;
  readonly assignmentChanges: Counter;
  readonly reports: Counter;
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
    nodesDown: metrics.counter(named("nodes_down_total", "Nodes that were set down after missed heartbeats.")),
    assignmentMessages: metrics.counter(named("assignment_messages_total", "Messages of assignments sent.", ["type"])),
    assignmentChanges: metrics.counter(named("assignment_changes_total", "Changes in those messages.")),
    reports: metrics.counter(named("lease_reports_total", "Reports of leases, by result.", ["result"])),
    relays: metrics.gauge(named("relays", "Relays to nodes that are open now.")),
  };
}
