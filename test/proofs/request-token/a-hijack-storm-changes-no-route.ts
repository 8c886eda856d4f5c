import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type EndpointList,
  EndpointSetSchema,
  mergeEndpoints,
  UpdateSchema,
} from "../../../src/protocol/index.ts";
import { ManyPrefixes, prefixNamed } from "../../apparatus/many-prefixes.ts";
import { type Claim, failed, ok } from "../claim.ts";

const prefixes = 10_000;
const instances = 1_000;
const prefixesPerInstance = 10;
const storm = 10_000;
/** As the control plane's and the agent's lists would come: what has changed since the last one. */
const perList = 100;
const ratePerSecond = 1_000;
const coreShareMax = 0.05;

/** What comes off the wire is decoded, merged into the list, judged, and put into the table, as in a proxy. */
export const claim: Claim = {
  text: "10,000 advertisements of prefixes that others hold, 1,000 a second, cost a proxy under 5 % of a core and change no route among 10,000 prefixes of 1,000 instances",
  run: async () => {
    const table = new ManyPrefixes(prefixes, instances);
    const { routes } = table;
    let list: EndpointList = { endpoints: table.granted(prefixesPerInstance), isPartial: false };
    routes.take(list.endpoints);
    const names = Array.from({ length: prefixes }, (_, number) => prefixNamed(number));
    const isRouted = (): boolean => names.every((name) => routes.routeTo(name).ok);
    while (!isRouted()) await new Promise(setImmediate);
    const before = names.map((name) => routes.routeTo(name));

    const rogues = Array.from({ length: perList }, (_, number) => table.register(`/rogue/n${number}`));
    const lists: Uint8Array[] = [];
    for (let first = 0; first < storm; first += perList) {
      const endpoints = rogues.map((rogue, place) => table.endpointOf(rogue, [prefixNamed(first + place)]));
      const value = create(EndpointSetSchema, { endpoints, isPartial: true });
      lists.push(toBinary(UpdateSchema, create(UpdateSchema, { content: { case: "endpoints", value } })));
    }
    const started = process.cpuUsage();
    for (const bytes of lists) {
      const { content } = fromBinary(UpdateSchema, bytes);
      if (content.case !== "endpoints") continue;
      list = mergeEndpoints(list, content.value);
      routes.take(list.endpoints);
      await new Promise(setImmediate);
    }
    const used = process.cpuUsage(started);
    const seconds = (used.user + used.system) / 1e6;
    const share = seconds / (storm / ratePerSecond);

    const after = names.map((name) => routes.routeTo(name));
    const changed = after.filter((route, place) => {
      const was = before[place];
      if (!route.ok || was?.ok !== true) return true;
      const { service, destination } = route.value;
      return service !== was.value.service || destination !== was.value.destination;
    }).length;
    const refused = table.refused.counts.get("prefix-not-granted") ?? 0;
    const [alarm = ""] = table.alarms;
    const figure = `${refused} refused as prefix-not-granted, ${changed} of ${prefixes} routes changed; ${((seconds * 1e6) / storm).toFixed(0)} µs of CPU each, ${(share * 100).toFixed(1)} % of a core at ${ratePerSecond} a second; ${table.alarms.length} alarms, such as "${alarm}"`;
    const isSo = refused === storm && changed === 0 && share < coreShareMax && table.alarms.length <= 33;
    return isSo ? ok(figure) : failed(figure);
  },
};
