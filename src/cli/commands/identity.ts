import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { OperatorClient } from "../operator-client.ts";
import { durationOf, type OutputFormat, printAnswer } from "../output.ts";
import { systemClock } from "../system.ts";
import { requireServiceName } from "./run-service.ts";

/** `troth identity show SERVICE`: the SPIFFE ID, the instances and the certificates that the trust log names. */
export async function showIdentity(
  service: string,
  options: { dir: string; output: OutputFormat },
): Promise<void> {
  using client = await OperatorClient.open(meshDirectory(options.dir));
  const { state, domain } = client;
  const name = requireServiceName(service);
  const row = state.services.get(name);
  if (row === undefined)
    throw new CliError(exitCode.notFound, `no service ${name} is registered; see: troth services`);
  const instances = [...state.instances.entries()]
    .filter(([, instance]) => instance.service === name)
    .map(([id, { node, auditKey }]) => ({
      instance: id,
      node,
      auditKey,
      certificates: [...state.certificates.entries()]
        .filter(([, certificate]) => certificate.instance === id)
        .map(([sha256, { serial, notAfterSeconds }]) => ({ sha256, serial, notAfterSeconds }))
        .sort((left, right) => right.notAfterSeconds - left.notAfterSeconds),
    }));
  const view = {
    service: name,
    spiffeId: `spiffe://${domain.trustDomain}${name}`,
    dataClass: row.dataClass,
    team: row.team,
    environment: row.environment,
    instances,
  };
  printAnswer(options.output, "Identity", view, () => {
    const now = systemClock.nowSeconds();
    const lines = [
      `SPIFFE ID     : ${view.spiffeId}`,
      `Data class    : ${view.dataClass}`,
      `Team          : ${view.team || "-"}`,
    ];
    for (const one of instances) {
      lines.push("", `Instance      : ${one.instance}`, `Node          : ${one.node}`);
      for (const { serial, sha256, notAfterSeconds } of one.certificates)
        lines.push(
          `Certificate   : serial ${serial}, ends in ${durationOf(notAfterSeconds - now)}`,
          `                SHA-256 ${sha256}`,
        );
    }
    if (instances.length === 0) lines.push("", "No instance runs now.");
    return `${lines.join("\n")}\n`;
  });
}
