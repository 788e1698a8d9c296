import {
  Network,
  NetworksDefinition,
  ObjectKind,
  precondition,
  type PreconditionViolation,
  type Service,
} from "@warren/api";
import { checkNetworkSpec } from "@warren/api/spec";
import { bind, type BoundService } from "@warren/api/server";
import type { View } from "@warren/store";
import { isUnreleased, slotName } from "@warren/api/model";
import { Access, idOf, networkName, resolve, serviceName } from "./access.ts";
import { nameTaken, tooMany } from "./failures.ts";
import { limits } from "./limits.ts";
import { pageOf } from "./pages.ts";
import { defaultNetwork } from "./service-admission.ts";

export function networks(access: Access): BoundService {
  return bind(NetworksDefinition, {
    async create({ spec }, { signal }) {
      const checked = checkNetworkSpec(spec);
      const id = await access.update(signal, (tx) => {
        if (tx.find("networks", "name", checked.name).length > 0) throw nameTaken("networks", checked.name);
        if (tx.list("networks").length >= limits.networks) throw tooMany("networks", limits.networks);
        const made = tx.create("networks", { meta: undefined, spec: checked });
        tx.emit({
          kind: ObjectKind.NETWORK,
          objectId: made,
          objectName: checked.name,
          action: "created",
          message: "services can be on it",
        });
        return made;
      });
      return resolve(access.view(), "networks", id);
    },

    get: ({ ref }) => resolve(access.view(), "networks", ref),

    list({ page }) {
      const { items, nextPageToken } = pageOf(page, {
        of: "networks",
        objects: access.view().list("networks"),
        keyOf: networkName,
        bytesOf: (network) => Network.encode(network).finish().length,
      });
      return { networks: [...items], nextPageToken };
    },

    async delete({ ref }, { signal }) {
      await access.update(signal, (tx) => {
        const network = resolve(tx, "networks", ref);
        const name = networkName(network);
        const obstacles = obstaclesTo(tx, network);
        if (obstacles.length > 0) throw precondition(obstacles, "delete or update what is on it first");
        tx.delete("networks", idOf(network));
        tx.emit({
          kind: ObjectKind.NETWORK,
          objectId: idOf(network),
          objectName: name,
          action: "deleted",
          message: "deleted",
        });
      });
      return {};
    },
  });
}

/** Whether the service wants the version, or its update under way may still go back to it (L18). */
function mayReturn({ versionId, updateStatus }: Service, id: string): boolean {
  if (versionId === id) return true;
  const open = updateStatus?.versionId === versionId && updateStatus.completedAt === undefined;
  return open && updateStatus.fromVersionId === id;
}

/** Obstacles of one kind that are told. */
const mostTold = 5;

function obstaclesTo(view: View, network: Network): PreconditionViolation[] {
  const name = networkName(network);
  if (name === defaultNetwork) {
    return [
      {
        type: "DEFAULT_NETWORK",
        subject: `network/${name}`,
        description: `network "${name}" is where services go that name none; it can't be deleted`,
      },
    ];
  }
  const inUse = (subject: string, who: string): PreconditionViolation => ({
    type: "NETWORK_IN_USE",
    subject,
    description: `${who} is on network "${name}"`,
  });
  const versions = view.find("versions", "network", idOf(network));
  const services = versions
    .map((version) => view.get("services", version.serviceId))
    .filter((service) => service !== undefined && versions.some((version) => mayReturn(service, idOf(version))));
  if (services.length > 0) {
    return [...new Set(services)]
      .slice(0, mostTold)
      .flatMap((service) =>
        service === undefined ? [] : [inUse(`service/${serviceName(service)}`, `service "${serviceName(service)}"`)],
      );
  }
  // Of a service that was updated away from it, or deleted, until its node has released them.
  const ids = new Set(versions.map(idOf));
  const slots = [...new Set(versions.map(({ serviceId }) => serviceId))]
    .flatMap((serviceId) => view.find("slots", "service", serviceId))
    .filter(({ leases }) => leases.some((lease) => isUnreleased(lease) && ids.has(lease.versionId)));
  return slots.slice(0, mostTold).map((slot) => {
    const name = slotName({ serviceName: slot.serviceName, slot: slot.key });
    return inUse(`slot/${idOf(slot)}`, `a task of ${name}, which is not gone yet,`);
  });
}
