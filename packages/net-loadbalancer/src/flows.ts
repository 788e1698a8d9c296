import type { BalancedService, Flows } from "./types.ts";

const tcp = 6;
const udp = 17;

type Filter = Parameters<Flows["deleteFlows"]>[0][number];

/** Filters of the UDP flows to a service's VIP and published ports. */
function entryFilters(service: BalancedService): Filter[] {
  const ports = (service.ports ?? []).filter(({ protocol }) => protocol === "udp");
  return [
    ...(service.vip === undefined ? [] : [{ protocol: udp, destination: service.vip }]),
    ...ports.map(({ published }) => ({ protocol: udp, destinationPort: published, toLocal: true })),
  ];
}

/**
 * The UDP flows to end after `before` has become `after`. Connection tracking sends a flow where its first packet went for
 * as long as its sender goes on, whether or not it is answered. So flows to a task that is gone are ended, and those that
 * began while the service had no task. A draining task is still there and keeps its flows.
 */
export function staleFlows(
  before: readonly BalancedService[] | undefined,
  after: readonly BalancedService[],
): Filter[] {
  const old = new Map(before?.map((service) => [service.id, service]));
  const filters: Filter[] = [];
  for (const service of after) {
    const was = old.get(service.id);
    old.delete(service.id);
    const answering = service.backends.map(({ address }) => address);
    const lost = was?.backends.some(({ address }) => !answering.includes(address)) ?? true;
    const reopened = was?.backends.length === 0 && answering.length > 0;
    const moved = JSON.stringify(was && entryFilters(was)) !== JSON.stringify(entryFilters(service));
    if (lost || reopened || moved) {
      filters.push(...entryFilters(service).map((entrance) => ({ ...entrance, exceptAnsweredBy: answering })));
    }
  }
  for (const gone of old.values()) filters.push(...entryFilters(gone));
  return filters;
}

/** The flows to end after rules were missing for a while: those that no task of their service answers, with TCP flows to VIPs. */
export function strayFlows(services: readonly BalancedService[]): Filter[] {
  const unanswered = services.flatMap(({ vip, backends }) =>
    vip === undefined
      ? []
      : [{ protocol: tcp, destination: vip, exceptAnsweredBy: backends.map(({ address }) => address) }],
  );
  return [...staleFlows(undefined, services), ...unanswered];
}
