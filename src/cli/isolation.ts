import { closeSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { systemProgram } from "../peer-process/index.ts";
import { CliError, exitCode } from "./exit-codes.ts";

const userIdMax = 2 ** 32 - 2;

/** How an application is kept apart from the sidecar that calls for it. */
export interface Isolation {
  /** The user that it runs as, instead of that of `troth run`. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Whether it has a network of its own, in which only its sidecar's ports are. */
  readonly hasOwnNetwork: boolean;
}

/** No isolation beyond that of a process. */
export const notIsolated: Isolation = { hasOwnNetwork: false };

/** Whether an application is kept apart at all. */
export function isIsolated({ user, hasOwnNetwork }: Isolation): boolean {
  return user !== undefined || hasOwnNetwork;
}

/** Reads `uid:1234`, `uid:1234:100`, `netns` or `uid:1234,netns`; throws a {@link CliError} for anything else. */
export function parseIsolation(text: string): Isolation {
  const found: { user?: { uid: number; gid: number }; hasOwnNetwork: boolean } = { hasOwnNetwork: false };
  for (const part of text.split(",")) {
    const [, uid, gid = uid] = /^uid:([0-9]{1,10})(?::([0-9]{1,10}))?$/.exec(part) ?? [];
    if (part === "netns" && !found.hasOwnNetwork) found.hasOwnNetwork = true;
    else if (uid !== undefined && found.user === undefined)
      found.user = { uid: Number(uid), gid: Number(gid) };
    else
      throw new CliError(
        exitCode.usage,
        `"${part}" is no way to isolate an application; write uid:1234, netns, or uid:1234,netns`,
      );
  }
  const { user } = found;
  if (user !== undefined && (user.uid === 0 || Math.max(user.uid, user.gid) > userIdMax))
    throw new CliError(exitCode.usage, "root can read every key; name another user");
  return found;
}

/** Why this process cannot isolate an application so; undefined where it can try. */
export function whyNotIsolated({ user, hasOwnNetwork }: Isolation): string | undefined {
  const own = process.geteuid?.();
  if (user !== undefined && own === undefined) return "this platform has no users to choose from";
  if (user !== undefined && own === user.uid) return `user ${own} is the one that runs troth; name another`;
  if (user !== undefined && own !== 0)
    return "only root may run a program as another user: start troth run with sudo, or leave out uid";
  if (!hasOwnNetwork) return undefined;
  if (process.platform !== "linux") return `${process.platform} has no network namespaces; Linux has`;
  const missing = ["unshare", "nsenter", "ip"].filter((name) => systemProgram(name) === undefined);
  return missing.length === 0
    ? undefined
    : `${missing.join(" and ")} ${missing.length === 1 ? "is" : "are"} not installed (packages util-linux and iproute2)`;
}

/**
 * Closes what this process has inherited and would hand on to every child (on Linux, which tells): whoever started it may
 * have had files open that an isolated application is not to have. Its own are closed at the start of another program.
 */
export function closeInherited(): void {
  for (const name of existsSync("/proc/self/fdinfo") ? readdirSync("/proc/self/fdinfo") : []) {
    const descriptor = Number(name);
    if (descriptor <= 2 || isClosedAtStart(descriptor)) continue;
    closeSync(descriptor);
  }
}

const closeOnExec = 0o2000000;

function isClosedAtStart(descriptor: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1"))?.[1];
    return (Number.parseInt(flags ?? "", 8) & closeOnExec) !== 0;
  } catch {
    // That of the folder, which has been read.
    return true;
  }
}

/**
 * The environment of an isolated application: without what is Troth's own or gives a way to somebody else's secrets.
 * What the application itself is configured with stays.
 */
export function isolatedEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const opensDoors =
    /^(TROTH_.*|SUDO_.*|SSH_(AUTH_SOCK|AGENT_PID|CONNECTION|CLIENT|TTY)|GPG_AGENT_INFO|KRB5CCNAME|DBUS_.*|XDG_RUNTIME_DIR|XAUTHORITY)$/;
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !opensDoors.test(name)));
}
