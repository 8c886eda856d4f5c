import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import type { Socket } from "node:net";
import { promisify } from "node:util";
import { fail, ok, type Result } from "../base/result.ts";
import { type CallerRefusal, callerHolding, type LocalCaller } from "./identify-caller.ts";
import { Procfs } from "./procfs.ts";

/** Where iproute2 puts it; not looked for along PATH, which others may have a say in. */
const programs = ["/usr/bin/ss", "/bin/ss", "/usr/sbin/ss", "/sbin/ss"];
const listBytesMax = 16 * 1024 * 1024;
const listMillisMax = 2_000;

/**
 * As `identifyCaller`, of a connection that came in at a Unix socket. Only the kernel's socket diagnostics say which
 * sockets are each other's ends (sock_diag(7), UDIAG_SHOW_PEER); Node has no way to them, so `ss` is asked.
 */
export async function identifyUnixCaller(
  socket: Socket,
  procfs: Procfs = new Procfs(),
): Promise<Result<LocalCaller, CallerRefusal>> {
  const program = programs.find((path) => existsSync(path));
  if (program === undefined)
    return fail(
      "platform-cannot-tell",
      "ss is not there to tell whose end of a Unix socket it is: install iproute2, or call over TCP on loopback",
    );
  const descriptor = descriptorOf(socket);
  const link = descriptor === undefined ? undefined : procfs.descriptor(process.pid, descriptor);
  const inode = /^socket:\[([0-9]+)\]$/.exec(link ?? "")?.[1];
  if (inode === undefined) return fail("connection-over", "the caller has closed the connection");
  const peer = await peerOf(inode, program);
  return peer.ok ? callerHolding({ inode: peer.value }, procfs) : peer;
}

/** `u_str ESTAB 0 0 /path 123 * 124`: a socket's own inode comes before that of its other end. */
async function peerOf(inode: string, program: string): Promise<Result<number, CallerRefusal>> {
  try {
    const list = await promisify(execFile)(program, ["-xnH"], {
      env: {},
      maxBuffer: listBytesMax,
      timeout: listMillisMax,
    });
    const found = new RegExp(`\\s${inode} \\S+ ([0-9]+)\\s*$`, "m").exec(list.stdout)?.[1];
    const peer = Number(found ?? 0);
    return peer > 0 ? ok(peer) : fail("connection-over", "the caller has closed the connection");
  } catch {
    return fail("platform-cannot-tell", "the list of Unix sockets could not be read (ss -xnH)");
  }
}

/** The number of a socket's descriptor, which Node keeps on its handle. */
function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, "_handle");
  if (typeof handle !== "object" || handle === null) return undefined;
  const descriptor: unknown = Reflect.get(handle, "fd");
  return typeof descriptor === "number" && descriptor >= 0 ? descriptor : undefined;
}
