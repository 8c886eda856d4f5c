import { chmod, mkdir, readFile, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../../src/cli/free-port.ts";
import { formatJoinToken, parseJoinToken } from "../../../src/protocol/index.ts";
import { checkOf } from "../../apparatus/check-report.ts";
import { openMesh, type RunningMesh, startTroth, troth } from "../../apparatus/running-mesh.ts";
import { temporaryFolder } from "../../contracts/temporary-folder.ts";
import { type Claim, failed, ok } from "../claim.ts";

const endMillisMax = 60_000;
const atOnce = 4;

/** One thing that a person may get wrong, how the command ends, and what its message has to say. */
interface BadInput {
  readonly args: readonly string[];
  readonly code: number;
  readonly says: RegExp;
  /** Whether what it says depends on those above it. */
  readonly isAfterOthers?: boolean;
}

/** Exit code and message together: what is wrong, and what to do. */
export const claim: Claim = {
  text: "flags, folders, key files, ports and join tokens that are wrong each get a message that says what is wrong and what to do, and the right exit code; the mesh beside them goes on",
  limitSeconds: 600,
  run: async () => {
    await using folder = await temporaryFolder();
    await using mesh = await openMesh({ kind: "up" });
    const inputs = [
      ...flags(folder.path),
      ...(await folders(folder.path, mesh)),
      ...(await tokens(folder.path, mesh)),
      ...(await files(folder.path, mesh)),
    ];
    const problems: string[] = [];
    const apart = inputs.filter(({ isAfterOthers }) => isAfterOthers !== true);
    const inOrder = inputs.filter(({ isAfterOthers }) => isAfterOthers === true);
    for (let first = 0; first < apart.length; first += atOnce)
      problems.push(...(await Promise.all(apart.slice(first, first + atOnce).map(problemWith))).flat());
    for (const input of inOrder) problems.push(...(await problemWith(input)));
    if (problems.length > 0) return failed(`${problems.length} of ${inputs.length}: ${problems.join("; ")}`);
    // One node has joined and runs no agent, and the refused joins raised alarms: all else is well.
    const { lines } = await checkOf(mesh.path);
    const wrong = lines.filter(
      ({ result, hint }) => result === "error" && hint?.endsWith("#agent-connected") !== true,
    );
    if (wrong.length > 0) return failed(`the mesh is not well: ${JSON.stringify(wrong)}`);
    const allowed = await troth(mesh.path, "allow", "/proof/caller", "/proof/callee");
    return allowed.code === 0 ? ok(`${inputs.length} cases`) : failed(`troth allow: ${allowed.stderr}`);
  },
};

/** What is wrong with how the command ended; nothing where it ended as it should. */
async function problemWith({ args, code, says }: BadInput): Promise<string[]> {
  await using command = startTroth(join(tmpdir(), "no-mesh-here"), args);
  const ended = await command.ended(endMillisMax);
  const what = `troth ${args.join(" ").slice(0, 120)}`;
  if (ended.code !== code) return [`${what}: exit code ${ended.code}, not ${code}: ${command.tail()}`];
  if (!says.test(ended.stderr)) return [`${what}: it says "${ended.stderr.trim()}", not ${says}`];
  if (ended.stderr.includes("    at ")) return [`${what}: shows a stack: ${ended.stderr}`];
  return [];
}

function flags(folder: string): BadInput[] {
  const dir = join(folder, "flags");
  const up = ["up", "--dir", dir];
  return [
    { args: ["nonsense"], code: 2, says: /unknown command/ },
    { args: [...up, "--listen", "nonsense"], code: 2, says: /HOST:PORT.*127\.0\.0\.1:7443/ },
    { args: [...up, "--listen", "127.0.0.1:99999"], code: 2, says: /port from 1 to 65535/ },
    { args: [...up, "--listen", "127.0.0.1:0"], code: 2, says: /port from 1 to 65535/ },
    { args: [...up, "--trust-domain", "Bad Domain!"], code: 2, says: /no trust domain.*shop\.example/ },
    { args: [...up, "--node", "no node"], code: 2, says: /--node takes a name/ },
    { args: [...up, "--svid-lifetime", "0"], code: 2, says: /1 to 86400 seconds/ },
    { args: [...up, "--svid-lifetime", "a day"], code: 2, says: /whole number/ },
    { args: [...up, "--log-level", "loud"], code: 2, says: /Allowed choices are/ },
    { args: ["check", "-o", "xml"], code: 2, says: /table, json, short/ },
    { args: ["run"], code: 2, says: /--service/ },
    { args: ["run", "--service", "!!", "--", "true"], code: 2, says: /write it like \/shop\/payments/ },
    {
      args: ["run", "--service", "/a/b", "--app-port", "70000", "--", "true"],
      code: 2,
      says: /at most 65535/,
    },
    { args: ["run", "--service", "/a/b", "--", "true"], code: 4, says: /no mesh in .*troth up/ },
    { args: ["status"], code: 4, says: /no mesh in .*--dir or TROTH_DIR/ },
    { args: ["node-agent"], code: 4, says: /troth join TOKEN/ },
    { args: ["check"], code: 1, says: /^$/ },
  ];
}

async function folders(folder: string, mesh: RunningMesh): Promise<BadInput[]> {
  const file = join(folder, "file");
  await writeFile(file, "");
  const newer = join(folder, "newer");
  await mkdir(newer);
  await writeFile(join(newer, "domain.json"), '{"layout":2}\n');
  const { address } = mesh.domain;
  const [, port = ""] = address.split(":");
  return [
    { args: ["up", "--dir", file], code: 70, says: /a file stands in its place.*--dir/ },
    { args: ["up", "--dir", join(file, "below")], code: 70, says: /a file stands in its place.*--dir/ },
    { args: ["up", "--dir", "/proc/mesh"], code: 70, says: /cannot make the folder \/proc\/mesh: .*--dir/ },
    { args: ["join", "--dir", "/proc/mesh", "garbage"], code: 65, says: /no join token/ },
    { args: ["up", "--dir", newer], code: 70, says: /newer Troth \(layout 2/ },
    {
      args: ["up", "--dir", join(folder, "port"), "--listen", address],
      code: 70,
      says: new RegExp(`cannot listen on ${address}: process [0-9]+ \\(.*\\) listens there; .*--listen`),
    },
    {
      args: ["run", "--dir", mesh.path, "--service", "/a/b", "--outbound-port", port, "--", "true"],
      code: 70,
      says: /process [0-9]+ .*--outbound-port/,
    },
    {
      args: ["run", "--dir", mesh.path, "--service", "/a/b", "--", "no-such-program"],
      code: 4,
      says: /cannot run/,
    },
    { args: ["up", "--dir", mesh.path], code: 70, says: /is running|listens there/ },
  ];
}

async function tokens(folder: string, mesh: RunningMesh): Promise<BadInput[]> {
  const invited = await troth(mesh.path, "node", "invite", "second");
  const text = invited.stdout.trim();
  const parsed = parseJoinToken(text);
  if (!parsed.ok) throw new Error(`no token: ${invited.stderr}`);
  const token = parsed.value;
  const join_ = (name: string, value: string): readonly string[] => [
    "join",
    value,
    "--dir",
    join(folder, name),
  ];
  const silent = `127.0.0.1:${await freePort()}`;
  return [
    { args: join_("t1", "garbage"), code: 65, says: /no join token.*troth-join-1\./ },
    { args: join_("t2", text.slice(0, -7)), code: 65, says: /no join token/ },
    { args: join_("t3", formatJoinToken({ ...token, address: silent })), code: 3, says: /cannot reach/ },
    {
      args: join_("t4", formatJoinToken({ ...token, genesis: token.inviteKey.slice(0, 43) + "=" })),
      code: 1,
      says: /another log than the token names/,
    },
    {
      args: join_("t5", formatJoinToken({ ...token, node: "third" })),
      code: 1,
      says: /used before|expired/,
    },
    { args: join_("t6", text), code: 0, says: /^$/, isAfterOthers: true },
    { args: join_("t6", text), code: 70, says: /has joined already, as second/, isAfterOthers: true },
    { args: join_("t7", text), code: 1, says: /used before|expired/, isAfterOthers: true },
  ];
}

/** Each file of a copied key folder made unreadable in its own way. */
async function files(folder: string, mesh: RunningMesh): Promise<BadInput[]> {
  const known = await readFile(join(mesh.path, "domain.json"));
  const key = await readFile(join(mesh.path, "operator", "keys", "operator"));
  const withKey = async (
    name: string,
    spoil: (path: string) => Promise<unknown>,
  ): Promise<readonly string[]> => {
    const dir = join(folder, name);
    await mkdir(join(dir, "operator", "keys"), { recursive: true, mode: 0o700 });
    await writeFile(join(dir, "domain.json"), known);
    const path = join(dir, "operator", "keys", "operator");
    await writeFile(path, key, { mode: 0o600 });
    await spoil(path);
    return ["status", "--dir", dir];
  };
  return [
    {
      args: await withKey("k1", (path) => truncate(path, 10)),
      code: 65,
      says: /operator is damaged: restore it/,
    },
    {
      args: await withKey("k2", (path) => writeFile(path, "")),
      code: 65,
      says: /operator is damaged: restore it/,
    },
    { args: await withKey("k3", (path) => chmod(path, 0o644)), code: 70, says: /chmod 600/ },
    {
      args: await withKey("k4", (path) => writeFile(join(path, "..", "..", "..", "domain.json"), "{")),
      code: 65,
      says: /domain\.json is damaged: restore it.*remove the file/,
    },
  ];
}
