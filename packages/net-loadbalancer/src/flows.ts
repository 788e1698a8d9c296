import type { BalancedService, Flows } from "./types.ts";

const tcp = 6;
const udp = 17;

type Filter = Parameters<Flows["deleteFlows"]>[0][number];

/** Where a service's UDP callers send to, as filters without who may answer. */
function entrances(service: BalancedService): Filter[] {
  const ports = (service.ports ?? []).filter(({ protocol }) => protocol === "udp");
  return [
    ...(service.vip === undefined ? [] : [{ protocol: udp, destination: service.vip }]),
    ...ports.map(({ published }) => ({ protocol: udp, destinationPort: published, toLocal: true })),
  ];
}

/**
 * The UDP flows to end after `before` has become `after`. A flow goes where its first packet went for as long as its
 * sender keeps on, whether or not anybody answers. So those end that go to a task that is gone, and those that began
 * while the entrance led nowhere. A draining task is still there and keeps its own.
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
    const moved = JSON.stringify(was && entrances(was)) !== JSON.stringify(entrances(service));
    if (lost || reopened || moved) {
      filters.push(...entrances(service).map((entrance) => ({ ...entrance, exceptAnsweredBy: answering })));
    }
  }
  for (const gone of old.values()) filters.push(...entrances(gone));
  return filters;
}

/** The flows to end after rules were missing for a while: those that no task of their service answers, TCP's to VIPs too. */
export function strayFlows(services: readonly BalancedService[]): Filter[] {
  const unanswered = services.flatMap(({ vip, backends }) =>
    vip === undefined
      ? []
      : [{ protocol: tcp, destination: vip, exceptAnsweredBy: backends.map(({ address }) => address) }],
  );
  return [...staleFlows(undefined, services), ...unanswered];
}
