import { bytesOf } from "../base/bytes.ts";
import { canonicalJson } from "../base/canonical-json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { isAbove, type PrefixRow, signDelegation, type TrustState } from "../trust-log/index.ts";
import { openCore } from "./open-core.ts";
import type { ProxyOptions } from "./proxy-options.ts";

/** What the holder of a prefix does with a part of it: hands it on, or takes it back. */
export type HandingOn =
  | {
      readonly kind: "prefix.delegate";
      readonly prefix: string;
      readonly holder: string;
      readonly depthMax: number;
      readonly mayDelegate: boolean;
      /** From the present epoch on; until it is taken back where not given. */
      readonly seconds?: number;
    }
  | { readonly kind: "prefix.recall"; readonly prefix: string };

/** What came of it: the prefix that it is a part of, and the log's size with the entry. */
export interface HandedOn {
  readonly under: string;
  readonly size: number;
}

/**
 * Becomes an instance of the holder for as long as it takes to sign that by its SVID's key, and has the issuer enter it
 * into the log. Throws where the mesh cannot be reached, or refuses it.
 */
export async function handOnPrefix(
  options: ProxyOptions,
  what: HandingOn,
): Promise<Result<HandedOn, "not-a-holder">> {
  await using opened = await openCore(options, { role: "export", describe: () => ({}) });
  const { core, keeper } = opened;
  const { state } = core.context.view.follower;
  const found = grantAbove(state, options.service, what);
  if (found === undefined)
    return fail("not-a-holder", `${options.service} holds nothing above ${what.prefix}`);
  const [under, row] = found;
  const said = { under, grant: row.index, sequence: row.sequence + 1, instance: options.instance };
  const body = signDelegation(
    options.anchor.genesis,
    { ...said, ...partOf(what, row, state) },
    keeper.current,
  );
  const size = await core.handOnPrefix(what.kind, bytesOf(canonicalJson({ ...body })));
  return ok({ under, size });
}

/** The nearest grant of the service's that a part lies under; that it was handed on from, where it is taken back. */
function grantAbove(
  { prefixes }: TrustState,
  service: string,
  { kind, prefix }: HandingOn,
): readonly [string, PrefixRow] | undefined {
  const from = prefixes.get(prefix)?.under;
  return [...prefixes.entries()]
    .filter(([above, { holder }]) => holder === service && isAbove(above, prefix))
    .filter(([above]) => kind === "prefix.delegate" || above === from)
    .sort(([left], [right]) => right.length - left.length)
    .at(0);
}

/** What ends cannot be handed on for longer. */
function partOf(
  what: HandingOn,
  { notAfterSeconds }: PrefixRow,
  { genesis }: TrustState,
): { readonly prefix: string } {
  if (what.kind === "prefix.recall") return { prefix: what.prefix };
  const { prefix, holder, depthMax, mayDelegate, seconds } = what;
  const end = seconds === undefined ? notAfterSeconds : (genesis?.epochTimeSeconds ?? 0) + seconds;
  const granted = { holder, depthMax, mayDelegate, notAfterSeconds: end };
  return { prefix, ...granted };
}
