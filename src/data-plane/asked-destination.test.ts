import { expect, it, test } from "vitest";
import { SmallTrustLog, serviceBody } from "../../test/fakes/small-trust-log.ts";
import { AskedDestination } from "./asked-destination.ts";

function playing(): SmallTrustLog {
  const log = new SmallTrustLog();
  for (const name of ["/media/player", "/shop/mallory"]) log.put("service.put", serviceBody(name));
  const granted = { depthMax: 1, mayDelegate: false, notAfterSeconds: 0 };
  log.put("prefix.grant", { ...granted, prefix: "/media/video", holder: "/media/player" });
  log.put("prefix.grant", { ...granted, prefix: "/media/music", holder: "/shop/mallory" });
  return log;
}

function askedOf(log: SmallTrustLog): AskedDestination {
  const follower = {
    state: log.state,
    get size() {
      return log.entries.length;
    },
  };
  return new AskedDestination({ service: "/media/player", view: { follower } });
}

test.each([
  ["player.media.mesh", "/media/player"],
  ["player.media.mesh:8080", "/media/player"],
  ["video.media.mesh", "/media/video"],
  ["live.video.media.mesh:80", "/media/video"],
  // Deeper than is granted, another's, and nobody's.
  ["a.live.video.media.mesh", undefined],
  ["music.media.mesh", undefined],
  ["mallory.shop.mesh", undefined],
  ["nobody.mesh", undefined],
  // What an application may take for a name, and this proxy not for the same.
  ["VIDEO.media.mesh", undefined],
  ["video.media.MESH", undefined],
  ["video.media.mesh.", undefined],
  ["video.media.mesh..", undefined],
  ["Video.Media.Mesh...:80", undefined],
  ["player.media.mesh.", undefined],
  ["player.media.mesh..:80", undefined],
  ["video..media.mesh", undefined],
  ["..mesh..", undefined],
  [".mesh", undefined],
  // From a gateway or another trust domain.
  ["shop.example", "/media/player"],
  ["player.media.example.org", "/media/player"],
  ["video.media.mesh.example", "/media/player"],
  ["video.media.inmesh", "/media/player"],
  ["", "/media/player"],
])("takes a request to %s for one to %s", (host, destination) => {
  expect(askedOf(playing()).of(host)).toBe(destination);
});

it("goes by the log as it is now, not as it was at the last request", () => {
  const log = playing();
  const asked = askedOf(log);
  expect(asked.of("video.media.mesh")).toBe("/media/video");

  log.put("prefix.withdraw", { prefix: "/media/video" });

  expect(asked.of("video.media.mesh")).toBeUndefined();
});
