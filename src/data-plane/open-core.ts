import { generateEd25519 } from "../crypto/index.ts";
import { openAdminListener, type ReadinessCheck } from "../telemetry/index.ts";
import type { SvidKeeper } from "../transport/index.ts";
import { verifierKeyOf } from "../trust-log/index.ts";
import type { ProxyOptions, ProxyRole } from "./proxy-options.ts";
import { SidecarCore } from "./sidecar-core.ts";

/** What differs between the roles while a proxy comes up. */
export interface RoleParts {
  readonly role: ProxyRole;
  /** What the proxy goes by now; shown at `/config`. */
  readonly describe: (core: SidecarCore) => object;
  /** What the role needs beside what all need. */
  readonly checks?: readonly ReadinessCheck[];
}

/** The core of a proxy that knows the log and has an SVID, but has no listener for requests yet. */
export interface OpenedCore extends AsyncDisposable {
  readonly core: SidecarCore;
  readonly keeper: SvidKeeper;
}

/** Opens what proxies of all roles have: follows the log, shows how that goes, and obtains an SVID. */
export async function openCore(options: ProxyOptions, parts: RoleParts): Promise<OpenedCore> {
  await using opened = new AsyncDisposableStack();
  const auditKey = generateEd25519();
  const signer = { name: `${options.anchor.trustDomain}/audit/${options.instance}`, ...auditKey };
  const core = opened.use(await SidecarCore.open(options, parts.role, signer));
  // Open while the rest comes up, so that somebody can see what it waits for.
  const admin = opened.use(
    await openAdminListener({
      listen: options.admin ?? { host: "127.0.0.1", port: 0 },
      checks: [...core.checks(), ...(parts.checks ?? [])],
      metrics: core.context.metrics.page,
      documents: { "/config": () => parts.describe(core) },
      log: options.log,
    }),
  );
  core.adminAddress = admin.address;
  await core.haveCaughtUp();
  const keeper = opened.use(await core.obtainSvid(verifierKeyOf(signer)));
  const running = opened.move();
  return { core, keeper, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
