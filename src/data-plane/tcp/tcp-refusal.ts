/** Why a peer opened no tunnel, as it says. */
export interface TcpRefusal {
  /** One of those that Troth's own proxies give; `refused` for everything else. */
  readonly reason: RefusalReason;
  /** For people; what a peer wrote, in one line of printable characters. */
  readonly detail: string;
  /** Of the record in the peer's audit log; empty where it names none. */
  readonly decisionId: string;
}

const reasons = [
  "no-rule",
  "rule-denies",
  "request-rule-denies",
  "only-requests-allowed",
  "service-speaks-http",
  "view-stale",
  "view-degraded",
  "audit-unavailable",
  "too-many-tcp-connections",
  "upstream-connect-failed",
  "upstream-connect-timeout",
  "decision-failed",
  "decision-timeout",
  "not-a-tunnel",
  "not-an-endpoint",
  "other-zone",
  "other-instance",
] as const;

/** The reasons that are told apart. */
export type RefusalReason = (typeof reasons)[number] | "refused";

const detailCharactersMax = 300;

/** Reads the answer of a peer that opened no tunnel; what is in it was written by somebody else and is judged so. */
export function readRefusal(status: number, body: Buffer): TcpRefusal {
  const document = parsed(body);
  const text = (name: string): string => {
    const value = document[name];
    return typeof value === "string" ? printable(value) : "";
  };
  const said = text("reason");
  const reason = reasons.find((one) => one === said) ?? "refused";
  const decisionId = /^[0-9a-f]{24}$/.test(text("decisionId")) ? text("decisionId") : "";
  return { reason, detail: text("detail") === "" ? `status ${status}` : text("detail"), decisionId };
}

function parsed(body: Buffer): Record<string, unknown> {
  try {
    const document: unknown = JSON.parse(body.toString("utf8"));
    return typeof document === "object" && document !== null ? { ...document } : {};
  } catch {
    return {};
  }
}

function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, detailCharactersMax);
}
