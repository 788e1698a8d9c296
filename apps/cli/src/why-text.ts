/** `warren why` as people read it: the headline, the causes, the last words of what died, one command. Pure. */
import { ObjectKind, type ExplainResponse, type Reason } from "@warren/api";
import { slotKeyText } from "@warren/api/model";
import { printable, wrapped } from "./output.ts";

export interface WhyView {
  readonly answer: ExplainResponse;
  /** What `answer.logTaskId` wrote last. */
  readonly lastLines: readonly string[];
  /** Width to fit in; undefined: lines are as long as they are. */
  readonly columns: number | undefined;
  /** `3s ago`, or exactly. */
  readonly when: (at: Date | undefined) => string;
  readonly bold: (text: string) => string;
}

/** Reasons alike, of several slots. */
interface Cause {
  readonly reason: Reason;
  readonly names: readonly string[];
}

/** Names of slots that a cause has; the others are counted. */
const namesShown = 3;

export function whyText(view: WhyView): string {
  const { answer, lastLines, columns, bold } = view;
  const headline = wrapped(printable(answer.summary), { columns }).map(bold);
  const current = answer.reasons.filter(({ past }) => !past);
  // What concerns all of it comes before what follows from it in its slots.
  const ordered = current.toSorted((a, b) => Number(a.taskId !== "") - Number(b.taskId !== ""));
  const causes = grouped(ordered, answer).filter((cause) => !isIn(answer.summary, cause));
  const blocks = causes.map((cause) => causeText(view, cause));
  const wrote =
    lastLines.length === 0 ? [] : [[writerText(answer), ...lastLines.map((line) => `  ${line}`)].join("\n")];
  const history = answer.reasons.length - current.length;
  return [
    headline.join("\n"),
    ...blocks,
    ...wrote,
    ...helpText(view, ordered),
    ...(history === 0 ? [] : [`${history} earlier event${history === 1 ? "" : "s"}: add --all`]),
  ].join("\n\n");
}

function writerText(answer: ExplainResponse): string {
  const reason = answer.reasons.find(({ taskId }) => taskId === answer.logTaskId);
  const [name = "it"] = reason === undefined ? [] : namesOf(reason, answer);
  return `${name} wrote last:`;
}

/** The whole of it, the newest first, each with all that would help. */
export function whyAllText(view: WhyView): string {
  const { answer, columns, bold } = view;
  const blocks = answer.reasons.toReversed().map((reason) => {
    const { remedy, command } = reason;
    const cause = causeText(view, { reason, names: namesOf(reason, answer) });
    const help = remedy === "" ? [] : wrapped(printable(remedy), { columns, indent: "  " });
    return [cause, ...help, ...(command === "" ? [] : [`    ${printable(command)}`])].join("\n");
  });
  return [wrapped(printable(answer.summary), { columns }).map(bold).join("\n"), ...blocks].join("\n\n");
}

function causeText({ when, columns }: WhyView, { reason, names }: Cause): string {
  const [first, ...others] = names.slice(0, namesShown);
  const more = names.length - namesShown;
  const who = [first, ...others].join(", ") + (more > 0 ? ` and ${more} more` : "");
  const head = [who, when(reason.at)].filter((text) => text !== "").join(", ");
  return wrapped(printable(`${head === "" ? "" : `${head}: `}${reason.text}`), { columns, hanging: "  " }).join("\n");
}

function grouped(reasons: readonly Reason[], answer: ExplainResponse): readonly Cause[] {
  const groups = Map.groupBy(reasons, ({ text, taskId }) => `${taskId === ""} ${text}`);
  return [...groups.values()].map((alike) => ({
    reason: alike.at(-1) as Reason,
    names: alike.flatMap((reason) => namesOf(reason, answer)),
  }));
}

/** Of its slot, where the answer is about more than that. */
function namesOf({ slot }: Reason, { kind, name }: ExplainResponse): readonly string[] {
  if (slot === undefined || kind === ObjectKind.NODE) return [];
  return [kind === ObjectKind.TASK ? name : `${name}.${slotKeyText(slot)}`];
}

/** Whether the headline says it already. */
function isIn(summary: string, { reason, names }: Cause): boolean {
  return names.length <= 1 && summary.includes(reason.text.replace(/^(waits: |the (?=update|rollback))/, ""));
}

/** What would help by the first reason that says it, with one command on a line of its own. */
function helpText({ columns, answer }: WhyView, reasons: readonly Reason[]): readonly string[] {
  const best = reasons.find(({ command, remedy }) => command !== "" && remedy !== "");
  const chosen = best ?? reasons.find(({ command, remedy }) => command !== "" || remedy !== "");
  if (chosen === undefined) return [];
  const fallback = answer.kind === ObjectKind.SERVICE ? `warren service tasks ${answer.name}` : "";
  const command = chosen.command === "" ? fallback : chosen.command;
  const remedy = chosen.remedy === "" ? "See more:" : sentence(chosen.remedy);
  const lines = wrapped(printable(remedy), { columns });
  return [[...lines, ...(command === "" ? [] : [`  ${printable(command)}`])].join("\n")];
}

/** Its first letter is a capital, unless it begins with what is typed as it stands. */
function sentence(text: string): string {
  return /^[a-z]+[ ,]/.test(text) ? `${text.charAt(0).toUpperCase()}${text.slice(1)}` : text;
}
