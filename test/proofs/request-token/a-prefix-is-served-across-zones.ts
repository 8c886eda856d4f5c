import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import { openRouterIn } from "../../apparatus/zone-routers.ts";
import { type Claim, failed, ok } from "../claim.ts";

const requests = 50;

/** The way to the holder of a prefix leads through the router of its zone, which only a rule for the prefix lets it open. */
export const claim: Claim = {
  text: "a request under a granted prefix goes from a sidecar through the router of another zone to its holder, which learns the caller by its own certificate; a withdrawal ends it",
  run: async () => {
    await using mesh = await MeshInProcess.found();
    const west = await mesh.joinNode("west-1");
    await mesh.put("node.zone", { node: "here", zone: "east" });
    await mesh.put("node.zone", { node: "west-1", zone: "west" });
    await using router = await openRouterIn(mesh, "/mesh/west", { agentSocketPath: west });
    await mesh.putService("/media/player");
    await mesh.grant("/media/video", "/media/player", 2);
    await mesh.putRule("/shop/web", "/media/video");
    const web = await mesh.open("/shop/web");
    const player = await mesh.open("/media/player", { agentSocketPath: west, prefixes: ["/media/video"] });
    await mesh.settled();
    const host = "live.video.media.mesh";
    await until(async () => (await web.call(host)).status === 200, "the way");
    let answered = 0;
    for (let count = 0; count < requests; count += 1)
      if ((await web.call(host, { method: "POST", body: "x" })).status === 200) answered += 1;

    const allowed = async (of: Pick<typeof router, "audit">): Promise<string[]> =>
      (await of.audit())
        .filter(({ type, effect }) => type === "decision" && effect === "allow")
        .map(({ caller, callee }) => `${String(caller)} to ${String(callee)}`);
    // What is allowed is written within a moment, not at once.
    await until(
      async () => (await allowed(player)).length > 0 && (await allowed(router)).length > 0,
      "records",
    );
    const through = await allowed(router);
    const callers = new Set(await allowed(player));
    await mesh.put("prefix.withdraw", { prefix: "/media/video" });
    await until(async () => (await web.call(host)).status === 404, "the withdrawal");

    const seen = [...callers].join(", ");
    const figure = `${answered} of ${requests} answered, decided on as ${seen}; the router let ${through.length} tunnels through`;
    const isSo =
      answered === requests &&
      seen === `spiffe://${mesh.trustDomain}/shop/web to /media/video` &&
      through.length > 0;
    return isSo ? ok(figure) : failed(figure);
  },
};
