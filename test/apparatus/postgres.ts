import { spawnSync } from "node:child_process";
import { chownSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../src/cli/free-port.ts";
import { type Ended, RunningCommand, runCommand } from "./running-command.ts";
import { openMesh, openService, type RunningMesh, type RunningService, troth } from "./running-mesh.ts";
import { Shared } from "./shared-apparatus.ts";

const versionsFolder = "/usr/lib/postgresql";
const clientMillisMax = 60_000;

/** What this machine lacks to run PostgreSQL; undefined where nothing. */
export function missingForPostgres(): string | undefined {
  if (programs() === undefined || !existsSync("/usr/bin/psql"))
    return "it takes PostgreSQL; on Debian: apt-get install -y postgresql postgresql-client";
  if (isRoot() && owner() === undefined)
    return "PostgreSQL does not run as root, and there is no user postgres";
  return undefined;
}

/** Where its own programs are, of the newest version there is. */
function programs(): string | undefined {
  const versions = existsSync(versionsFolder) ? readdirSync(versionsFolder) : [];
  return versions
    .sort((left, right) => Number(right) - Number(left))
    .map((version) => join(versionsFolder, version, "bin"))
    .find((folder) => existsSync(join(folder, "initdb")));
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** The user that it runs as where this process is root. */
function owner(): { readonly uid: number; readonly gid: number } | undefined {
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((one) => one.startsWith("postgres:"));
  const [, , uid, gid] = line?.split(":") ?? [];
  return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

/** PostgreSQL as the service `/proof/db` behind its sidecar, and a caller, `/proof/client`, with a port for it. */
export interface PostgresMesh extends AsyncDisposable {
  readonly mesh: RunningMesh;
  readonly database: RunningService;
  readonly client: RunningService;
  /** On loopback, by which the client's sidecar carries connections to the database. */
  readonly port: number;
  /** Runs psql over the mesh to its end. */
  readonly psql: (...args: readonly string[]) => Promise<Ended>;
  /** Starts psql, or another client such as pgbench, over the mesh. */
  readonly start: (program: string, ...args: readonly string[]) => RunningCommand;
}

/** Opened once for all claims about it. */
export const postgresMesh: Shared<PostgresMesh> = new Shared(openPostgresMesh);

async function openPostgresMesh(): Promise<PostgresMesh> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "troth-postgres-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const bin = programs() ?? "";
  const user = isRoot() ? owner() : undefined;
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  const data = join(folder, "data");
  const made = spawnSync(
    join(bin, "initdb"),
    ["-D", data, "-U", "proof", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"],
    { encoding: "utf8", cwd: folder, ...user },
  );
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`);

  const mesh = stack.use(await openMesh({ kind: "up" }));
  const [databasePort, port] = [await freePort(), await freePort()];
  const asUser =
    user === undefined ? [] : ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups"];
  const settings = {
    port: databasePort,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    fsync: "off",
  };
  const database = stack.use(
    await openService(mesh, "/proof/db", {
      command: [
        ...asUser,
        join(bin, "postgres"),
        "-D",
        data,
        ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
      ],
      port: databasePort,
      args: ["--app-protocol", "tcp"],
    }),
  );
  // Told to end, it would wait for clients that stay.
  stack.defer(() => {
    const [pid = ""] = readFileSync(join(data, "postmaster.pid"), "utf8").split("\n");
    process.kill(Number(pid), "SIGINT");
  });
  const client = stack.use(
    await openService(mesh, "/proof/client", { args: ["--tcp", `${port}=/proof/db`] }),
  );
  const allowed = await troth(mesh.path, "allow", "/proof/client", "/proof/db");
  if (allowed.code !== 0) throw new Error(`troth allow: ${allowed.stderr}`);
  const env = {
    PGHOST: "127.0.0.1",
    PGPORT: String(port),
    PGUSER: "proof",
    PGDATABASE: "postgres",
    PGCONNECT_TIMEOUT: "20",
    PGSSLMODE: "disable",
  };
  const opened = stack.move();
  return {
    mesh,
    database,
    client,
    port,
    psql: (...args) =>
      runCommand("psql", ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", ...args], {
        env,
        timeoutMillis: clientMillisMax,
      }),
    start: (program, ...args) => new RunningCommand(program, args, { env }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
