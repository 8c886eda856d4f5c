import { bytesOfBase64 } from "../base/bytes.ts";
import { messageOf } from "../base/mesh-error.ts";
import { pemOfCertificate, type SvidInUse } from "../transport/index.ts";
import type { TrustState } from "../trust-log/index.ts";
import { describeProxy } from "./describe-sidecar.ts";
import { RevocationListKeeper } from "./keep-revocation-lists.ts";
import { openCore } from "./open-core.ts";
import type { ProxyOptions } from "./proxy-options.ts";
import type { SidecarCore } from "./sidecar-core.ts";
import { federatedBundlesOf } from "./trusted-bundles.ts";
import { watchApp } from "./watch-app.ts";

const saveAgainMillis = 2_000;

/** What a proxy that is not Troth's is given to be a member of the mesh. */
export interface ExportedCredentials {
  /** The SVID, leaf first, PEM. */
  readonly chainPem: string;
  readonly privateKeyPem: string;
  /** The trusted roots of the trust domain, PEM. */
  readonly bundlePem: string;
  /** What each authority has revoked before its end (RFC 5280), PEM; empty where the control plane has not said yet. */
  readonly crlPem: string;
  /** The roots of each federated trust domain, PEM, by its name. They count for that domain alone. */
  readonly federated: ReadonlyMap<string, string>;
  readonly serial: string;
}

/** What an export needs. */
export interface ExportOptions extends ProxyOptions {
  /** Where the other proxy takes calls of the mesh; it takes none where absent. */
  readonly peer?: { readonly host: string; readonly port: number };
  /** Keeps credentials where the other proxy finds them; whatever it throws, it is called again. */
  readonly save: (credentials: ExportedCredentials) => Promise<void>;
}

/** An instance whose key is in somebody else's hands. */
export interface Export extends AsyncDisposable {
  readonly adminAddress: string;
}

/**
 * Registers an instance for a proxy that is not Troth's, keeps its credentials renewed, and lets others call it while
 * something listens there. The key leaves this process: that is what it is for.
 */
export async function openExport(options: ExportOptions): Promise<Export> {
  await using opened = new AsyncDisposableStack();
  const { core, keeper } = opened.use(
    await openCore(options, { role: "export", describe: (core) => describeExport(core, options) }),
  );
  const { log } = options;
  const saver = opened.use(new Saver(options));
  const offer = (svid: SvidInUse): void => {
    const { state } = core.context.view.follower;
    const { chainPem, privateKeyPem, serial } = svid;
    const crlPem = lists.pem;
    const federated = federatedOf(state);
    saver.offer({ chainPem, privateKeyPem, bundlePem: bundleOf(state), crlPem, federated, serial });
  };
  const { view, clock } = core.context;
  const read = (): Promise<readonly Uint8Array[]> => core.readRevocationLists();
  const changed = (): void => offer(keeper.current);
  const lists = new RevocationListKeeper({ view, clock, log, read, changed });
  core.onRotation(offer);
  core.onStep(() => {
    offer(keeper.current);
    void lists.stepped();
  });
  // A proxy that is told of a list does not start without one, so they are tried for before the first files are there.
  await lists.stepped();
  offer(keeper.current);
  await saver.hasSaved;

  let isUp = false;
  const address = options.peer === undefined ? "" : `${options.peer.host}:${options.peer.port}`;
  const advertise = (): void => void core.advertise(isUp && !core.isDraining ? address : "");
  if (options.peer !== undefined)
    opened.use(
      watchApp(options.peer, { log }, (isThere) => {
        isUp = isThere;
        advertise();
      }),
    );
  core.onDraining(advertise);
  await core.report();

  const running = opened.move();
  return {
    adminAddress: core.adminAddress,
    [Symbol.asyncDispose]: async () => {
      await core.advertise("");
      await running.disposeAsync();
    },
  };
}

/** Saves the newest credentials, one after the other, until they are saved. */
class Saver implements AsyncDisposable {
  readonly hasSaved: Promise<void>;
  readonly #options: ExportOptions;
  readonly #first = Promise.withResolvers<void>();
  #newest: ExportedCredentials | undefined;
  #saved = "";
  #saving: Promise<void> | undefined;
  #isClosed = false;
  #again: NodeJS.Timeout | undefined;

  constructor(options: ExportOptions) {
    this.#options = options;
    this.hasSaved = this.#first.promise;
  }

  offer(credentials: ExportedCredentials): void {
    this.#newest = credentials;
    this.#save();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#again);
    await this.#saving;
  }

  #save(): void {
    const credentials = this.#newest;
    if (this.#isClosed || this.#saving !== undefined || credentials === undefined) return;
    const { chainPem, bundlePem, crlPem, federated } = credentials;
    const text = [chainPem, bundlePem, crlPem, ...[...federated].flat()].join("");
    if (text === this.#saved) return;
    clearTimeout(this.#again);
    const { save, log } = this.#options;
    this.#saving = save(credentials).then(
      () => {
        this.#saving = undefined;
        this.#saved = text;
        this.#first.resolve();
        this.#save();
      },
      (error: unknown) => {
        this.#saving = undefined;
        log.error("credentials not written; tried again", { error: messageOf(error) });
        this.#again = setTimeout(() => this.#save(), saveAgainMillis);
      },
    );
  }
}

/** The roots that the operators trust, PEM. */
function bundleOf({ certificateAuthorities }: TrustState): string {
  return [...certificateAuthorities.entries()]
    .flatMap(([, { isTrusted, certificate }]) => (isTrusted ? (bytesOfBase64(certificate) ?? []) : []))
    .map(pemOfCertificate)
    .join("");
}

function federatedOf(state: TrustState): ReadonlyMap<string, string> {
  return new Map(
    federatedBundlesOf(state).map(({ trustDomain, authorities }) => [
      trustDomain,
      authorities.map(({ der }) => pemOfCertificate(der)).join(""),
    ]),
  );
}

function describeExport(core: SidecarCore, options: ExportOptions): object {
  const peer = options.peer === undefined ? "" : `${options.peer.host}:${options.peer.port}`;
  return describeProxy(core, options, {
    kind: "ExportConfig",
    listeners: { peer, admin: core.adminAddress },
    limits: {},
  });
}
