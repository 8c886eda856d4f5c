import { canonicalJson, type Json, type JsonObject } from "../base/canonical-json.ts";
import { momentOf } from "./output.ts";

const keyCharactersShown = 12;
const bodyCharactersMax = 120;

/** What an entry says, in one line for people. Kinds that this version has no words for are shown as they are. */
export function describeEntry(kind: string, body: JsonObject): string {
  const words = Object.hasOwn(wordings, kind) ? wordings[kind] : undefined;
  if (words !== undefined) return words((field) => text(body[field]), body);
  const json = canonicalJson(body);
  return json.length > bodyCharactersMax ? `${json.slice(0, bodyCharactersMax)}…` : json;
}

type Wording = (field: (name: string) => string, body: JsonObject) => string;

const wordings: Readonly<Record<string, Wording>> = {
  genesis: (field) =>
    `founds ${field("trustDomain")}${field("isTestDomain") === "true" ? ", a test domain" : ""}`,
  epoch: (field, body) => `epoch ${field("number")} begins, ${moment(body["timeSeconds"])}`,
  "log.recover": (field) =>
    `generation ${field("generation")} takes the log up again after ${field("size")} entries, under the key ${shortened(field("logKey"))}`,
  "authority.put": (field, body) => `${field("kinds")} takes ${grantText(body["grant"])}`,
  "key.put": (field) =>
    `${field("name")} becomes ${field("role")} with the key ${shortened(field("publicKey"))}`,
  "key.remove": (field) => `${field("name")} loses its key`,
  "ca.trust": () => "the mesh trusts a root certificate",
  "ca.issue": () => "an intermediate certificate is made",
  "service.put": (field) =>
    `${field("name")} is a service: ${field("dataClass")}, on ${field("nodes") === "*" ? "any node" : field("nodes")}`,
  "service.remove": (field) => `${field("name")} is no service any more`,
  "rule.put": (field) => ruleText(field),
  "rule.remove": (field) => `no rule any more for ${field("from")} calling ${field("to")}`,
  "node.invite": (field, body) => `${field("node")} may join until ${moment(body["expiresAtSeconds"])}`,
  "node.join": (field) => `${field("node")} joins with the key ${shortened(field("nodeKey"))}`,
  "traffic.put": (field) =>
    `calls of ${field("service")} are carried over ${field("protocol").toUpperCase()} by a new traffic policy`,
  "traffic.remove": (field) => `calls of ${field("service")} have no traffic policy any more`,
  "node.zone": (field) =>
    field("zone") === ""
      ? `${field("node")} is in no zone`
      : `${field("node")} is in the zone ${field("zone")}`,
  "node.remove": (field) => `${field("node")} is removed, with its instances`,
  "instance.register": (field) =>
    `${field("service")} gets the instance ${field("instance")} on ${field("node")}`,
  "instance.remove": (field) => `the instance ${field("instance")} is gone`,
  "instance.drain": (field) => `the instance ${field("instance")} takes no new requests`,
  "instance.resume": (field) => `the instance ${field("instance")} takes requests again`,
  "svid.issue": (field, body) =>
    `${field("spiffeId")} gets the certificate ${shortened(field("certificate"))} until ${moment(body["notAfterSeconds"])}`,
  "svid.put": (field, body) =>
    `${field("spiffeId")} gets the certificate ${shortened(field("certificate"))} of generation ${field("generation")} until ${moment(body["notAfterSeconds"])}`,
  "workload.put": (field) =>
    `a process with ${field("selectors")} may be ${field("service")} (${field("name")})`,
  "workload.remove": (field) => `the workload entry ${field("name")} is gone`,
  "instance.revoke": (field) => `the instance ${field("instance")} is revoked: ${field("reason")}`,
  "instance.lock": (field) =>
    `the instance ${field("instance")} is revoked: two have asked for certificates as it`,
  "instance.renew": (field) => `the instance ${field("instance")} gets a new certificate now`,
  "svid.revoke": (field) =>
    `the certificate ${shortened(field("certificate"))} is revoked: ${field("reason")}`,
  "token.revoke": (field) => `the token ${field("id")} is revoked: ${field("reason")}`,
  "service.hold": (field) => `${field("name")} has no identity until it is lifted: ${field("reason")}`,
  "service.lift": (field) => `${field("name")} may have identities again`,
  "node.hold": (field) =>
    `nothing on ${field("node")} has an identity until it is lifted: ${field("reason")}`,
  "node.lift": (field) => `what runs on ${field("node")} may have identities again`,
  "jwk.put": (field) => `a key for ${field("use")} is in the trust bundle`,
  "ca.activate": (field) => `the authority ${shortened(field("authority"))} signs from now on`,
  "ca.taint": (field) => `what the authority ${shortened(field("authority"))} has signed is to be replaced`,
  "ca.revoke": (field) =>
    `the authority ${shortened(field("authority"))} is revoked with all that it has signed: ${field("reason")}`,
  "federation.put": (field) =>
    `workloads of ${field("trustDomain")} may be known here, by its bundle at ${field("url")}`,
  "federation.bundle": (field) => `${field("trustDomain")} has another trust bundle`,
  "federation.remove": (field) => `workloads of ${field("trustDomain")} are known here no more`,
  "remote.put": (field) =>
    `${field("service")} of ${field("trustDomain")} is reached at ${field("addresses")}`,
  "remote.remove": (field) => `${field("service")} of ${field("trustDomain")} is not reached any more`,
  "foreignrule.put": (field) => ruleText(field),
  "foreignrule.remove": (field) => `no rule any more for ${field("from")} calling ${field("to")}`,
  "requesttoken.put": (field, body) => {
    const mode = field("mode");
    if (mode === "off") return `requests to ${field("to")} carry no request tokens`;
    return `requests to ${field("to")} carry request tokens, ${mode}${windowText(body["window"])}`;
  },
  "requesttoken.remove": (field) => `nothing is said any more of request tokens to ${field("to")}`,
};

function ruleText(field: (name: string) => string): string {
  const narrowed = [field("methods"), field("paths")].filter((part) => part !== "").join(" ");
  return `${field("from")} ${field("effect") === "deny" ? "may not" : "may"} call ${field("to")}${narrowed === "" ? "" : `: ${narrowed}`}`;
}

function windowText(window: Json | undefined): string {
  if (typeof window !== "object" || window === null || Array.isArray(window)) return "";
  const { pastSeconds, futureSeconds } = Object.fromEntries(Object.entries(window));
  return `, at most ${text(pastSeconds)} s old and ${text(futureSeconds)} s ahead`;
}

function grantText(grant: Json | undefined): string {
  const members =
    typeof grant === "object" && grant !== null && !Array.isArray(grant) ? Object.entries(grant) : [];
  const { role, signatures, approvals } = Object.fromEntries(members);
  return `${counted(signatures, "signature")} of the role ${text(role)} and ${counted(approvals, "approval")}`;
}

function counted(count: Json | undefined, noun: string): string {
  return `${text(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function moment(value: Json | undefined): string {
  return typeof value === "number" ? momentOf(value) : "";
}

function shortened(key: string): string {
  return `${key.slice(0, keyCharactersShown)}…`;
}

function text(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  if (Array.isArray(value)) return value.map(text).join(", ");
  return typeof value === "object" ? canonicalJson(value) : String(value);
}
