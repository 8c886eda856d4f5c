import { expect, it } from "vitest";
import { CliError } from "./exit-codes.ts";
import { isolatedEnvironment, parseIsolation, whyNotIsolated } from "./isolation.ts";

it.each([
  ["uid:1234", { user: { uid: 1234, gid: 1234 }, hasOwnNetwork: false }],
  ["uid:1234:100", { user: { uid: 1234, gid: 100 }, hasOwnNetwork: false }],
  ["netns", { hasOwnNetwork: true }],
  ["uid:1234,netns", { user: { uid: 1234, gid: 1234 }, hasOwnNetwork: true }],
  ["netns,uid:1234", { user: { uid: 1234, gid: 1234 }, hasOwnNetwork: true }],
])("reads %s", (text, isolation) => {
  expect(parseIsolation(text)).toEqual(isolation);
});

it.each([
  "",
  "uid",
  "uid:",
  "uid:root",
  "uid:-1",
  "uid:0",
  "uid:4294967295",
  "uid:1234:",
  "uid:1,uid:2",
  "netns,netns",
  "netns,",
  "chroot",
])("takes no %j", (text) => {
  expect(() => parseIsolation(text)).toThrow(CliError);
});

it("does not run an application as the user that runs the sidecar", () => {
  const own = process.geteuid?.() ?? 0;

  expect(whyNotIsolated({ user: { uid: own, gid: own }, hasOwnNetwork: false })).toContain(
    "is the one that runs troth",
  );
});

it("asks nothing of a machine that is to isolate nothing", () => {
  expect(whyNotIsolated({ hasOwnNetwork: false })).toBeUndefined();
});

it("leaves an isolated application what it is configured with, and no way to others' secrets", () => {
  const environment = {
    PATH: "/bin",
    DATABASE_PASSWORD: "its own",
    SSH_AUTH_SOCK: "/tmp/agent",
    SUDO_USER: "somebody",
    TROTH_DIR: "/var/lib/troth",
    XDG_RUNTIME_DIR: "/run/user/1",
  };

  expect(isolatedEnvironment(environment)).toEqual({ PATH: "/bin", DATABASE_PASSWORD: "its own" });
});
