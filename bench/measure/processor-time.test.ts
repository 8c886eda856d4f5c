import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { busySecondsOf, memoryOf, ownProcesses, processorNanos } from "./processor-time.ts";

describe("busySecondsOf", () => {
  it("adds user, nice, system, interrupts and stolen time, but neither idle nor waiting nor guests", () => {
    expect(
      busySecondsOf("cpu  100 200 300 9999 9999 400 500 600 9999 9999\ncpu0 1 1 1 1 1 1 1 1 0 0\n"),
    ).toBe(21);
  });
});

describe.runIf(process.platform === "linux")("on this machine", () => {
  it("a process that works uses more processor time than it did before", () => {
    const before = processorNanos([process.pid]);
    for (let index = 0; index < 2e6; index += 1) Math.hypot(index, 1);

    expect(processorNanos([process.pid])).toBeGreaterThan(before);
  });

  it("a process that is not there uses none", () => {
    expect(processorNanos([2 ** 30])).toBe(0);
    expect(memoryOf([2 ** 30])).toEqual({ residentBytes: 0, proportionalBytes: 0 });
  });

  it("resident memory includes what is shared, proportional memory only a share of it", () => {
    const { residentBytes, proportionalBytes } = memoryOf([process.pid]);

    expect(proportionalBytes).toBeGreaterThan(1e6);
    expect(residentBytes).toBeGreaterThanOrEqual(proportionalBytes);
  });

  it("own processes are this one and its children", async () => {
    const child = spawn("sleep", ["30"], { stdio: "ignore" });
    await once(child, "spawn");

    const own = ownProcesses();

    expect(own).toContain(process.pid);
    expect(own).toContain(child.pid);
    expect(own).not.toContain(1);
    child.kill();
    await once(child, "exit");
  });
});
