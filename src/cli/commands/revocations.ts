import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { momentOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";

/** Something that has no identity, or none any more. */
interface RevokedThing {
  readonly what: "instance" | "certificate" | "token" | "authority" | "service" | "node";
  readonly id: string;
  readonly reason: string;
  readonly atSeconds: number;
  /** When it is forgotten, since it would have ended by then; null for never, or until it is lifted. */
  readonly untilSeconds: number | null;
  readonly isFinal: boolean;
  /** Whose it was, where that is known. */
  readonly of: string;
}

/** `troth identity revocations`: what is revoked or held, the newest first. */
export async function listRevocations(options: { dir: string; output: OutputFormat }): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const items = revokedThings(client).toSorted((left, right) => right.atSeconds - left.atSeconds);
  printAnswer(options.output, "RevocationList", { items }, () => {
    if (items.length === 0) return "Nothing is revoked or held.\n";
    const isWide = options.output === "wide";
    return tableOf(
      ["WHAT", "ID", "OF", "REASON", "SINCE", "UNTIL"],
      items.map(({ what, id, of, reason, atSeconds, untilSeconds, isFinal }) => {
        const end = untilSeconds === null ? "for ever" : momentOf(untilSeconds);
        const isShort = !isWide && /^[0-9a-f-]{16,}$/.test(id);
        return [
          what,
          isShort ? id.slice(0, 12) : id,
          of,
          reason,
          momentOf(atSeconds),
          isFinal ? end : "lifted",
        ];
      }),
    );
  });
}

function* revokedThingsOf({ state }: OperatorClient): Generator<RevokedThing> {
  for (const [key, { reason, atSeconds, expiresAtSeconds }] of state.revocations.entries()) {
    const [kind = "", ...rest] = key.split(":");
    const untilSeconds = expiresAtSeconds === 0 ? null : expiresAtSeconds;
    const what = kind === "token" ? "token" : "instance";
    yield { what, id: rest.join(":"), of: "", reason, atSeconds, untilSeconds, isFinal: true };
  }
  for (const [, row] of state.revokedCertificates.entries()) {
    const { serial: id, spiffeId: of, reason, atSeconds, notAfterSeconds: untilSeconds } = row;
    yield { what: "certificate", id, of, reason, atSeconds, untilSeconds, isFinal: true };
  }
  for (const [id, { status, sinceSeconds: atSeconds }] of state.authorityStatus.entries())
    if (status === "revoked")
      yield { what: "authority", id, of: "", reason: status, atSeconds, untilSeconds: null, isFinal: true };
  for (const [key, { reason, atSeconds }] of state.holds.entries()) {
    const [kind = "", ...rest] = key.split(":");
    const what = kind === "node" ? "node" : "service";
    yield { what, id: rest.join(":"), of: "", reason, atSeconds, untilSeconds: null, isFinal: false };
  }
}

function revokedThings(client: OperatorClient): RevokedThing[] {
  return [...revokedThingsOf(client)];
}
