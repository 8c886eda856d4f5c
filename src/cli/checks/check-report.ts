import { messageOf } from "../../base/mesh-error.ts";
import { printable } from "../printable.ts";

/** Where each check's failure is explained: headings of docs/guides/troubleshooting.md. */
export const checkAnchors = [
  "node-version",
  "directory-writable",
  "port-free",
  "clock-plausible",
  "disk-space",
  "mesh-directory",
  "key-modes",
  "agent-socket",
  "callers-told",
  "keys-present",
  "log-verifies",
  "control-plane-answers",
  "epochs-fresh",
  "no-alarms",
  "clock-agrees",
  "node-clocks-agree",
  "authority-life",
  "agent-connected",
  "workload-api",
  "proxy-found",
  "proxy-ready",
  "proxy-follows",
  "proxy-certificate",
  "service-served",
] as const;

/** The name of a check, and of what is written about it. */
export type CheckAnchor = (typeof checkAnchors)[number];

/** What is wrong, and the act that mends it. */
export interface Finding {
  readonly error: string;
  /** What to do, in words that say exactly what and where. */
  readonly remedy: string;
  /** The same as a line for a shell, where it is one. */
  readonly command?: string;
  readonly isWarning?: boolean;
}

/** What should hold. */
export interface Check {
  readonly category: string;
  readonly anchor: CheckAnchor;
  readonly description: string;
}

/** One line of a report. */
export interface CheckLine extends Check {
  readonly result: "success" | "warning" | "error";
  readonly finding?: Finding;
}

const guide = "docs/guides/troubleshooting.md";

/** The lines of one run of `troth check`, in order. */
export class CheckReport {
  readonly lines: CheckLine[] = [];

  /** Whether nothing worse than a warning was found. */
  get isSuccess(): boolean {
    return this.lines.every(({ result }) => result !== "error");
  }

  /** Runs one check; true unless it failed. What it throws is a failure. */
  async run(check: Check, look: () => Promise<Finding | undefined> | Finding | undefined): Promise<boolean> {
    const finding = await Promise.resolve()
      .then(look)
      .catch((error: unknown): Finding => ({ error: messageOf(error), remedy: `see ${hintOf(check)}` }));
    const result = finding === undefined ? "success" : finding.isWarning === true ? "warning" : "error";
    this.lines.push({ ...check, result, ...(finding === undefined ? {} : { finding }) });
    return result !== "error";
  }

  /** As `linkerd check -o json` has it, with remedy and command besides. */
  categories(): object[] {
    return [...Map.groupBy(this.lines, ({ category }) => category)].map(([categoryName, lines]) => ({
      categoryName,
      checks: lines.map(({ description, result, finding, ...check }) => ({
        description,
        result,
        ...(finding === undefined
          ? {}
          : {
              error: finding.error,
              remedy: finding.remedy,
              ...(finding.command === undefined ? {} : { command: finding.command }),
              hint: hintOf(check),
            }),
      })),
    }));
  }

  /** For people; `isShort` leaves out what is well. */
  text(isShort: boolean): string {
    const shown = isShort ? this.lines.filter(({ result }) => result !== "success") : this.lines;
    const sections = [...Map.groupBy(shown, ({ category }) => category)].map(
      ([category, lines]) =>
        `${category}\n${"-".repeat(category.length)}\n${lines.map(textOfLine).join("")}\n`,
    );
    return `${sections.join("")}Status check results are ${this.isSuccess ? "√" : "×"}\n`;
  }
}

const marks: { readonly [key in CheckLine["result"]]: string } = { success: "√", warning: "‼", error: "×" };

function textOfLine({ description, result, finding, ...check }: CheckLine): string {
  const head = `${marks[result]} ${description}\n`;
  if (finding === undefined) return head;
  const command = finding.command === undefined ? "" : `        ${finding.command}\n`;
  return `${head}    ${printable(finding.error)}\n    remedy: ${printable(finding.remedy)}\n${command}    see ${hintOf(check)} for hints\n`;
}

function hintOf({ anchor }: Pick<Check, "anchor">): string {
  return `${guide}#${anchor}`;
}
