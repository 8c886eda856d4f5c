import { chmod, lstat } from "node:fs/promises";
import { userInfo } from "node:os";
import { dirname } from "node:path";
import { MeshError } from "../base/mesh-error.ts";

/**
 * Makes sure that processes of this user alone (and of root) can connect to a Unix socket, which is all that Node can
 * know of who does: it tells no credentials of a peer. Who connects may ask for a certificate of any service of this
 * node, so the agent does not serve where the folder is another user's or open to others. Throws `ERR_NODE_AGENT_SOCKET`.
 */
export async function requireClosedSocket(path: string): Promise<void> {
  const folder = dirname(path);
  const { uid, mode } = await lstat(folder);
  const own = userInfo().uid;
  const refuse = (what: string, remedy: string): MeshError =>
    new MeshError(
      "ERR_NODE_AGENT_SOCKET",
      `${folder}, where the agent's socket is, ${what}, who could ask for any service's identity: ${remedy}`,
    );
  if (uid !== own) throw refuse(`belongs to user ${uid}`, `chown ${own} ${folder}`);
  if ((mode & 0o077) !== 0) throw refuse("is open to other users", `chmod go= ${folder}`);
  // Twice closed: the folder counts on every platform, the socket's own mode on Linux too.
  await chmod(path, 0o600);
}
