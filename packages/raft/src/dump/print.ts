/** A finding as a line: for people, or as JSON. */
import type { ConfState } from "../core/index.ts";
import type { Member } from "../transport/index.ts";
import type { EntryContent, Finding } from "./findings.ts";

/** A JSON object; bytes are in base64. */
export function asJson(finding: Finding): string {
  return JSON.stringify(finding, (_, value: unknown) =>
    value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value,
  );
}

/** With `showData`, commands' bytes are printed too. */
export function asText(finding: Finding, showData: boolean): string {
  switch (finding.kind) {
    case "identity": {
      const { nodeId, clusterId, incarnation, level } = finding;
      return `member ${nodeId} of cluster ${JSON.stringify(clusterId)}, incarnation ${incarnation}, level ${level}`;
    }
    case "state": {
      const { term, vote, commit, compacted, last } = finding;
      const voted = vote === 0 ? "no vote" : `vote for ${vote}`;
      const log = last > compacted.index ? `entries ${compacted.index + 1} to ${last}` : "no entries";
      return `state: term ${term}, ${voted}, committed to ${commit}, ${log} (compacted to ${compacted.index} of term ${compacted.term})`;
    }
    case "marker":
      return `marker: durable to ${finding.last}`;
    case "journal": {
      const { records, ahead } = finding;
      if (records === undefined) return "journal: empty";
      return `journal: ${records.count} records, ${records.first} to ${records.last}; ${ahead} of them not in LevelDB yet`;
    }
    case "peer":
      return `peer ${finding.id}: incarnation ${finding.incarnation}`;
    case "snapshot": {
      const { index, term, bytes, confState, members, sessions } = finding;
      return `snapshot ${index}: term ${term}, ${bytes} bytes, ${configuration(confState)}, members ${list(members)}, ${sessions} sessions`;
    }
    case "export": {
      const { clusterId, index, term, level, bytes, confState, takenMs } = finding;
      const when = new Date(takenMs).toISOString();
      return `exported snapshot of cluster ${JSON.stringify(clusterId)}, ${when}: index ${index}, term ${term}, level ${level}, ${bytes} bytes, ${configuration(confState)}`;
    }
    case "entry": {
      const { index, term, committed, content } = finding;
      return `entry ${index}: term ${term}, ${describe(content, showData)}${committed ? "" : ", not known to be committed"}`;
    }
    case "leftover":
      return `leftover: ${finding.file}`;
    case "damage":
      return `DAMAGE: ${finding.what}`;
  }
}

function configuration({ voters, votersOutgoing, learners, learnersNext }: ConfState): string {
  const outgoing =
    votersOutgoing.length === 0 ? "" : `, leaving a joint configuration with voters ${votersOutgoing.join(" ")}`;
  const all = [...learners, ...learnersNext];
  return `voters ${voters.join(" ")}${all.length === 0 ? "" : `, learners ${all.join(" ")}`}${outgoing}`;
}

function list(members: readonly Member[]): string {
  return members.map(({ id, address }) => `${id}=${address}`).join(" ");
}

const changes = {
  ConfChangeAddNode: "voter",
  ConfChangeAddLearnerNode: "learner",
  ConfChangeRemoveNode: "remove",
  ConfChangeUpdateNode: "update",
} as const;

function describe(content: EntryContent, showData: boolean): string {
  const bytes = (data: Uint8Array): string => `${data.length} bytes${showData ? ` ${quoted(data)}` : ""}`;
  switch (content.kind) {
    case "empty":
      return "empty, the beginning of a term";
    case "command":
      return `command of member ${content.proposer}, ${bytes(content.data)}`;
    case "command in session":
      return `command ${content.number} in session ${content.session} of member ${content.proposer}, ${bytes(content.data)}`;
    case "open session":
      return `opens a session for member ${content.proposer}, ends unused after ${content.ttlMs} ms`;
    case "clock":
      return `clock moves by ${content.elapsedMs} ms`;
    case "membership": {
      const steps = content.changes.map(({ type, nodeId }) => `${changes[type]} ${nodeId}`);
      const what = steps.length === 0 ? "leave the joint configuration" : steps.join(", ");
      return `membership: ${what}${content.members.length === 0 ? "" : `, with ${list(content.members)}`}`;
    }
    case "unreadable":
      return `${content.why}, ${bytes(content.data)}`;
  }
}

/** As text if it is text, else in hexadecimal digits. */
function quoted(data: Uint8Array): string {
  try {
    return JSON.stringify(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data));
  } catch {
    return Buffer.from(data).toString("hex");
  }
}
