import { ApiError, precondition, type RelayDeleteVolume, type Version } from "@warren/api";
import { servicesThat, type Relay, type RelayDependencies } from "./relay.ts";

/** Sends the node's named volumes, with the services that use each. */
export async function relayVolumes({ volumes, inUse, nodeId }: RelayDependencies, relay: Relay): Promise<void> {
  const used = [...inUse()];
  const found = (await volumes.list()).map(({ name, path, createdAt }) => ({
    name,
    nodeId,
    path,
    createdAt,
    services: servicesThat(used, mounts(name)),
  }));
  await relay.send({ $case: "volumes", value: { volumes: found, unreachableNodes: [] } });
}

/** Deletes a volume that no task of the node mounts or is to mount; none while a task may mount any. */
export async function relayDeleteVolume(
  { volumes, inUse, inUnknownUse }: RelayDependencies,
  { name }: RelayDeleteVolume,
): Promise<void> {
  const users = (): string[] => servicesThat(inUse(), mounts(name));
  switch (await volumes.delete(name, () => users().length > 0 || inUnknownUse().size > 0)) {
    case "deleted":
      return;
    case "missing":
      throw new ApiError({ code: "API_NOT_FOUND", kind: "volume", ref: name }, `the node has no volume "${name}"`, {
        remedy: "see what there is with: warren volume list",
      });
    case "used": {
      const unknown = [...inUnknownUse()].sort().join(", ");
      if (users().length === 0 && unknown !== "") {
        const what = `the node still has tasks of ${unknown} that no manager assigns, and what they mount is not known`;
        throw precondition(
          [{ type: "VOLUME_MAY_BE_IN_USE", subject: `volume/${name}`, description: what }],
          "try again when they have ended",
        );
      }
      const description = `volume "${name}" is mounted by tasks of ${users().join(", ")}`;
      throw precondition(
        [{ type: "VOLUME_IN_USE", subject: `volume/${name}`, description }],
        "delete the service, or take the mount away: warren service update SERVICE --mount-rm PATH",
      );
    }
  }
}

function mounts(name: string): (version: Version) => boolean {
  return ({ task }) =>
    (task?.container?.mounts ?? []).some(({ source }) => source?.$case === "volume" && source.value.name === name);
}
