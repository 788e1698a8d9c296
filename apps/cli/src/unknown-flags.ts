/** What to say of a flag that a command has not: the nearest right one, or where Docker's is. Pure. */
import { nearest } from "./argv.ts";

/** Docker's flags → what does the same here. */
const ofDocker: Readonly<Record<string, string>> = {
  "--name": "the name stands by itself: warren service create NAME --image IMAGE",
  "--env-add": "--env",
  "--publish-add": "--publish",
  "--mount-add": "--mount",
  "--label-add": "--label",
  "--container-label-add": "--container-label",
  "--network-add": "--network",
  "--constraint-add": "--constraint",
  "--constraint-remove": "--constraint-rm",
  "--group-add": "--group",
  "--dns-add": "--dns",
  "--dns-search-add": "--dns-search",
  "--dns-option-add": "--dns-option",
  "--host-add": "--add-host",
  "--host-rm": "--add-host-rm",
  "--ulimit-add": "--ulimit",
  "--sysctl-add": "--sysctl",
  "--rollback": "warren service rollback NAME",
  "--args": "arguments stand after --: warren service update NAME -- ARGUMENT…",
  "--stop-grace-period": "--stop-grace",
  "--stop-timeout": "--stop-grace",
  "--replicas-max-per-node": "--max-replicas-per-node",
  "--log-opt": "--log-max-size and --log-max-files",
  "--log-driver": "logs are kept on the node: --log-max-size and --log-max-files",
  "--with-registry-auth": "warren registry login REGISTRY, once for all services",
  "--no-resolve-image": "a tag is looked up when it is named, and at no other time",
  "--health-start-interval": "--health-interval",
  "--endpoint-mode": "a service has an address; tasks.NAME leads to its tasks",
  "--memory": "--limit-memory",
  "-m": "--limit-memory",
  "--cpus": "--limit-cpu",
  "--pids-limit": "--limit-pids",
  "--memory-reservation": "--reserve-memory",
  "--restart": "--restart-condition",
  "--volume": "--mount type=volume,src=NAME,dst=/PATH, or type=bind for a path of the node",
  "-v": "--mount type=volume,src=NAME,dst=/PATH, or type=bind for a path of the node",
  "--tmpfs": "--mount type=tmpfs,dst=/PATH",
  "--network-alias": "--network NAME,alias=ALIAS",
  "--privileged": "--cap-add and --device give single rights",
  "--security-opt": "--no-new-privileges",
  "--mode": "services are replicated; global ones and jobs are not there yet",
  "--secret": "secrets are not there yet",
  "--secret-add": "secrets are not there yet",
  "--config": "configs are not there yet",
  "--config-add": "configs are not there yet",
  "--placement-pref": "tasks are spread over the nodes by themselves",
  "--format": "-o json, yaml or name",
  "--quiet": "-o name",
  "-q": "-o name",
  "--no-trunc": "-o json, or inspect",
  "--filter": "--label, or -o json with jq",
  "--availability": "warren node drain, pause or activate NODE",
  "--label-remove": "--label-rm",
  "--details": "-o json",
  "--pretty": "-o table",
  "--until": "--since",
  "--advertise-addr": "a cluster is one machine for now",
  "--default-addr-pool": "--task-pool",
};

/** @param known names of the command's flags, without dashes */
export function unknownFlagText(unknown: readonly string[], id: string, known: readonly string[]): string {
  const command = `warren ${id.replaceAll(":", " ")}`;
  return unknown
    .map(
      (flag) =>
        `${flag} is not a flag of '${command}'${id === "run" && Object.hasOwn(ofRun, flag) ? `: ${ofRun[flag]}` : hint(flag, known)}`,
    )
    .join("; ");
}

/** Of `docker run` alone: elsewhere they mean something else. */
const ofRun: Readonly<Record<string, string>> = {
  "-i": "a shell is opened in a task that runs: warren exec -it SERVICE sh",
  "-it": "a shell is opened in a task that runs: warren exec -it SERVICE sh",
  "--interactive": "a shell is opened in a task that runs: warren exec -it SERVICE sh",
  "--restart-condition": "what 'run' starts is not started again",
  "--restart": "what 'run' starts is not started again",
  "-d": "a service runs on by itself: warren service create NAME --image IMAGE",
  "--detach": "a service runs on by itself: warren service create NAME --image IMAGE",
};

function hint(flag: string, known: readonly string[]): string {
  const own = known.map((name) => `--${name}`);
  const docker = Object.hasOwn(ofDocker, flag) ? ofDocker[flag] : undefined;
  // A flag of this command only where it has it.
  if (docker !== undefined && (!/^--\S+$/.test(docker) || own.includes(docker)))
    return `: use ${docker}`.replace(/^: use (?!-|warren)/, ": ");
  const near = nearest(flag, own);
  return near === undefined ? "" : `; did you mean ${near}?`;
}
