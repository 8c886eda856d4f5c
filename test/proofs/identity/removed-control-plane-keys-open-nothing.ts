import { ownRoles } from "../../../src/control-plane/index.ts";
import { Thief } from "../../apparatus/log-thief.ts";
import { MeshInProcess, until } from "../../apparatus/mesh-in-process.ts";
import { type Claim, failed, ok } from "../claim.ts";

const visitsMin = 3;

/** The thief has the log and its key throughout, and answers where the control plane did. */
export const claim: Claim = {
  text: "a removed key of the control plane opens nothing: what the old issuer and sequencer sign is without effect and an alarm, and no agent follows the old server key",
  run: async () => {
    await using mesh = await MeshInProcess.found();
    const [caller, callee] = [await mesh.open("/shop/web"), await mesh.open("/shop/pay")];
    await mesh.putRule("/shop/web", "/shop/pay");
    const works = async (): Promise<boolean> => (await caller.call(callee.host)).status === 200;
    await until(works, "the first call");
    for (const role of ownRoles) {
      await mesh.addOwnKey(role);
      await mesh.put("key.remove", { name: `${mesh.trustDomain}/${role}` });
    }
    await mesh.settled();
    const { size } = mesh.controlPlane.writer.newest ?? { size: 0 };
    await mesh.stopControlPlane();
    const { log, issuer, sequencer, server } = mesh.keys;
    const scene = {
      logFolder: mesh.logFolder,
      genesis: mesh.genesis,
      address: mesh.controlPlaneAddress,
    };

    let visits = 0;
    {
      await using impostor = await Thief.open({ ...scene, keys: { log, issuer, sequencer, server } });
      await impostor.show("older-log", size);
      await until(() => impostor.follows >= visitsMin, "the agent comes");
      visits = impostor.follows;
      if (impostor.calls > 0) return failed(`the old server key was told or asked ${impostor.calls} times`);
    }
    const inForce = await mesh.ownKey(`${mesh.trustDomain}/server-2`);
    await using thief = await Thief.open({ ...scene, keys: { log, issuer, sequencer, server: inForce } });
    await thief.show("own-entries", size);
    const { follower } = mesh.agent.view;
    const forged = (): number => follower.size - size;
    await until(() => forged() > 0 && thief.alarms.length >= forged(), "the agent has told");
    const told = thief.alarms.filter((alarm) => alarm.includes("unknown-author")).length;
    if (told < forged()) return failed(`${forged()} forged entries, ${told} alarms`);
    const { size: instances } = follower.state.instances;
    if (instances !== 2 || !(await works())) return failed(`${instances} of 2 instances are left`);
    return ok(
      `issuer, sequencer and server replaced; an agent came ${visits} times to the old server key and neither told nor asked it anything; ${forged()} entries by the old issuer and sequencer under the log's own key: ${forged()} without effect, ${told} alarms`,
    );
  },
};
