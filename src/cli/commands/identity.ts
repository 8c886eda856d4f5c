import { parseEntry } from "../../trust-log/index.ts";
import { CliError, exitCode } from "../exit-codes.ts";
import { findInstance } from "../find-identity.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { blockOf, durationOf, momentOf, type OutputFormat, printAnswer, tableOf } from "../output.ts";
import { readEntries } from "../read-entries.ts";
import { systemClock } from "../system.ts";
import { requireServiceName } from "./run-service.ts";

const issuances: ReadonlySet<string> = new Set(["svid.issue", "svid.put"]);

/** What `troth identity` takes. */
interface IdentityOptions {
  readonly dir: string;
  readonly output: OutputFormat;
}

/** An instance with the certificates that the trust log names for it, the one that ends last first. */
interface InstanceIdentity {
  readonly service: string;
  readonly spiffeId: string;
  readonly instance: string;
  readonly node: string;
  readonly auditKey: string;
  readonly certificates: readonly { sha256: string; serial: string; notAfterSeconds: number }[];
}

/** `troth identity list`: every instance with its SPIFFE ID and when its identity ends. */
export async function listIdentities(options: IdentityOptions): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const items = identitiesOf(client);
  const now = systemClock.nowSeconds();
  printAnswer(options.output, "IdentityList", { items }, () => {
    if (items.length === 0)
      return "No workload has an identity. troth run --service NAME -- COMMAND starts one that gets it.\n";
    const isWide = options.output === "wide";
    return tableOf(
      [
        "SPIFFE ID",
        "INSTANCE",
        "NODE",
        "CERTIFICATES",
        "ENDS IN",
        ...(isWide ? ["NOT AFTER", "SERIAL"] : []),
      ],
      items.map(({ spiffeId, instance, node, certificates }) => {
        const [newest] = certificates;
        const endsIn = newest === undefined ? "has none" : durationOf(newest.notAfterSeconds - now);
        const more = [newest === undefined ? "" : momentOf(newest.notAfterSeconds), newest?.serial ?? ""];
        return [
          spiffeId,
          isWide ? instance : instance.slice(0, 8),
          node,
          String(certificates.length),
          endsIn,
          ...(isWide ? more : []),
        ];
      }),
    );
  });
}

/** `troth identity show SERVICE|ID`: the SPIFFE ID, the instances and the certificates that the trust log names. */
export async function showIdentity(service: string, options: IdentityOptions): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  if (/^[0-9a-f]{4}[0-9a-f-]{0,32}$/.test(service)) return showInstance(client, service, options.output);
  const name = requireServiceName(service);
  const row = client.state.services.get(name);
  if (row === undefined)
    throw new CliError(exitCode.notFound, `no service ${name} is registered; see: troth get service`);
  const instances = identitiesOf(client)
    .filter((one) => one.service === name)
    .map(({ instance, node, auditKey, certificates }) => ({ instance, node, auditKey, certificates }));
  const view = {
    service: name,
    spiffeId: `spiffe://${client.domain.trustDomain}${name}`,
    dataClass: row.dataClass,
    team: row.team,
    environment: row.environment,
    instances,
  };
  printAnswer(options.output, "Identity", view, () => {
    const now = systemClock.nowSeconds();
    const pairs: [string, string | string[]][] = [
      ["SPIFFE ID", view.spiffeId],
      ["Data class", view.dataClass],
      ["Team", view.team],
    ];
    for (const { instance, node, certificates } of instances)
      pairs.push(
        ["Instance", `${instance} on ${node}`],
        [
          "Certificates",
          certificates.flatMap(({ serial, sha256, notAfterSeconds }) => [
            `serial ${serial}, ends in ${durationOf(notAfterSeconds - now)}`,
            `SHA-256 ${sha256}`,
          ]),
        ],
      );
    if (instances.length === 0) pairs.push(["Instances", "none runs now"]);
    return blockOf(pairs);
  });
}

/** One instance, or what is remembered of one that was revoked. */
function showInstance(client: OperatorClient, id: string, output: OutputFormat): void {
  const { state } = client;
  const revoked = [...state.revocations.entries()].find(([key]) => key.startsWith(`instance:${id}`));
  if (revoked !== undefined) {
    const [key, { reason, atSeconds }] = revoked;
    const instance = key.slice("instance:".length);
    printAnswer(output, "RevokedInstance", { instance, reason, atSeconds }, () =>
      blockOf([
        ["Instance", instance],
        ["Revoked", `${reason}, ${momentOf(atSeconds)}; for good`],
      ]),
    );
    return;
  }
  const { instance, row } = findInstance(state, id);
  const identity = identitiesOf(client).find((one) => one.instance === instance);
  const certificates = identity?.certificates ?? [];
  const view = {
    instance,
    service: row.service,
    spiffeId: identity?.spiffeId ?? "",
    node: row.node,
    isDraining: row.isDraining,
    generation: row.generation ?? null,
    certificates,
  };
  const now = systemClock.nowSeconds();
  printAnswer(output, "Instance", view, () =>
    blockOf([
      ["Instance", `${instance} on ${row.node}`],
      ["SPIFFE ID", view.spiffeId],
      ["Since", momentOf(row.registeredAtSeconds)],
      ["Generation", row.generation === undefined ? "not counted" : String(row.generation)],
      [
        "Certificates",
        certificates.flatMap(({ serial, sha256, notAfterSeconds }) => [
          `serial ${serial}, ends in ${durationOf(notAfterSeconds - now)}`,
          `SHA-256 ${sha256}`,
        ]),
      ],
    ]),
  );
}

/** `troth identity needs-rotation`: whose certificate ends soon. Exit code 0 where there is any, 1 where there is none. */
export async function needsRotation(
  options: IdentityOptions & { within: { readonly seconds: number } | { readonly share: number } },
): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { within } = options;
  const beginnings = "share" in within ? await beginningsOf(client) : new Map<string, number>();
  const now = systemClock.nowSeconds();
  const items = identitiesOf(client)
    .map((one) => {
      const [newest] = one.certificates;
      const notAfterSeconds = newest?.notAfterSeconds ?? 0;
      const lifetime = notAfterSeconds - (beginnings.get(newest?.sha256 ?? "") ?? notAfterSeconds);
      const limit = "share" in within ? within.share * lifetime : within.seconds;
      const { service, instance, node } = one;
      return {
        service,
        instance,
        node,
        notAfterSeconds,
        isDue: newest === undefined || notAfterSeconds - now <= limit,
      };
    })
    .filter(({ isDue }) => isDue)
    .map(({ service, instance, node, notAfterSeconds }) => ({ service, instance, node, notAfterSeconds }));
  printAnswer(options.output, "RotationReport", { items }, () =>
    items.length === 0
      ? "No certificate needs rotation.\n"
      : tableOf(
          ["SERVICE", "INSTANCE", "NODE", "ENDS IN"],
          items.map(({ service, instance, node, notAfterSeconds }) => [
            service,
            instance.slice(0, 8),
            node,
            notAfterSeconds === 0 ? "has none" : durationOf(notAfterSeconds - now),
          ]),
        ),
  );
  if (items.length === 0) throw new CliError(exitCode.no, "");
}

function identitiesOf({ state, domain }: OperatorClient): InstanceIdentity[] {
  return [...state.instances.entries()]
    .map(([instance, { service, node, auditKey }]) => ({
      service,
      spiffeId: `spiffe://${domain.trustDomain}${service}`,
      instance,
      node,
      auditKey,
      certificates: [...state.certificates.entries()]
        .filter(([, certificate]) => certificate.instance === instance)
        .map(([sha256, { serial, notAfterSeconds }]) => ({ sha256, serial, notAfterSeconds }))
        .sort((left, right) => right.notAfterSeconds - left.notAfterSeconds),
    }))
    .sort((left, right) =>
      `${left.service} ${left.instance}` < `${right.service} ${right.instance}` ? -1 : 1,
    );
}

/** When each certificate began; the state keeps only when it ends. */
async function beginningsOf(client: OperatorClient): Promise<Map<string, number>> {
  const { entries } = await readEntries(client);
  const beginnings = new Map<string, number>();
  for (const entry of entries) {
    const parsed = parseEntry(entry);
    if (!parsed.ok || !issuances.has(parsed.value.statement.kind)) continue;
    const { certificate, notBeforeSeconds } = parsed.value.statement.body;
    if (typeof certificate === "string" && typeof notBeforeSeconds === "number")
      beginnings.set(certificate, notBeforeSeconds);
  }
  return beginnings;
}
