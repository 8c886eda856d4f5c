import { z } from "zod";
import { bytesOfBase64 } from "../base/bytes.ts";
import { isNormalPath } from "./path-form.ts";
import { isNoteName } from "./signed-note.ts";

const labelsMax = 16;
const generationMax = 1_000;
const grantedKindsMax = 64;
const trafficRoutesMax = 64;
const timeoutMillisMax = 3_600_000;

const servicePrefix = z
  .string()
  .max(255)
  .regex(
    /^(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._-]{1,63}){1,16}$/,
    "expected a service prefix such as /shop/payments",
  )
  .describe("service prefix, such as /shop/payments");
/** A service prefix, or one that ends in `/*` and covers all below it, or `/*`. */
const servicePattern = z
  .union([
    servicePrefix,
    z
      .string()
      .max(257)
      .regex(/^(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._-]{1,63}){0,16}\/\*$/, "expected /*, or a prefix and /*"),
  ])
  .describe("service prefix, or a prefix and `/*`, or `/*`");
const trustDomain = z
  .string()
  .regex(/^[a-z0-9._-]{1,255}$/, "expected a SPIFFE trust domain")
  .describe("SPIFFE trust domain");
const nodeName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "expected a lower-case DNS label")
  .describe("lower-case DNS label");
const noteName = z
  .string()
  .refine(isNoteName, "expected a name that can stand in a note")
  .describe("name of a key, as in a C2SP signed note");
const uuid = z
  .string()
  .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "expected a lower-case UUID")
  .describe("lower-case UUID");
const bytes = (min: number, max: number) =>
  z
    .string()
    .max(Math.ceil(max / 3) * 4)
    .refine(
      (text) => {
        const length = bytesOfBase64(text)?.byteLength;
        return length !== undefined && length >= min && length <= max;
      },
      `expected base64 of ${min === max ? min : `${min} to ${max}`} bytes`,
    )
    .describe(`base64 of ${min === max ? min : `${min} to ${max}`} bytes`);
const sha256Hex = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .describe("SHA-256, lower-case hex");
const seconds = z.int().min(0).max(253_402_300_799).describe("seconds since 1970");
// The same words that workload metadata in a certificate takes (identity/workload-metadata.ts).
const word = z
  .string()
  .regex(/^(?=.{1,63}$)[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?$/)
  .describe("word of at most 63 of A-Z a-z 0-9 . _ / -");
const wordOrNone = z.union([word, z.literal("")]).describe("such a word, or empty");
const labels = z.record(word, word).refine((map) => Object.keys(map).length <= labelsMax);

const requestPath = z
  .string()
  .max(1024)
  .refine(isNormalPath, "expected a path as requests are decided on: no //, /./, /../, ? or needless %");
const methodName = z.string().regex(/^[A-Z]{1,32}$/);
const timeoutMillis = z.int().min(1).max(timeoutMillisMax);
const timeoutOrNoneMillis = z.int().min(0).max(timeoutMillisMax).describe("0 for none");
const retryCondition = z.enum(["connect-failed", "reset", "timeout", "502", "503", "504"]);
const percent = z.int().min(1).max(100);
/** What is tried again, and how often. */
const retries = z.strictObject({
  retriesMax: z.int().min(0).max(5).describe("attempts after the first; 0 for none"),
  attemptMillis: timeoutMillis.exactOptional().describe("how long one attempt may be without a response"),
  on: z.array(retryCondition).min(1).max(6),
  methods: z.array(methodName).max(16).describe("the idempotent ones where empty"),
});
const trafficRoute = z.strictObject({
  methods: z.array(methodName).max(16),
  paths: z.array(requestPath).max(16),
  timeoutMillis: timeoutOrNoneMillis.exactOptional(),
  retries: retries.exactOptional(),
  mirror: z.strictObject({ to: servicePrefix, percent }).exactOptional(),
  fault: z
    .strictObject({
      percent,
      delayMillis: timeoutMillis.exactOptional(),
      status: z.int().min(400).max(599).exactOptional(),
    })
    .refine(
      (fault) => fault.delayMillis !== undefined || fault.status !== undefined,
      "expected a delay or a status",
    )
    .exactOptional(),
});

const dataClass = z.enum(["public", "internal", "confidential", "restricted"]);
/**
 * People are viewers, operators, approvers and auditors; the rest is the control plane. `server` keys sign no entries:
 * they are the control plane's TLS keys.
 */
const role = z.enum(["viewer", "operator", "approver", "auditor", "issuer", "sequencer", "server"]);
const kindName = z.string().regex(/^[a-z]+\.[a-z]+$|^epoch$/);
/** So many signatures of authors in this role, and so many more of approvers, who are other people. */
const grant = z.strictObject({ role, signatures: z.int().min(1).max(8), approvals: z.int().min(0).max(8) });
const key = z.strictObject({ name: noteName, role, publicKey: bytes(32, 32) });
const bound = z.strictObject({ degradeAfterSeconds: z.int().min(1), refuseAfterSeconds: z.int().min(1) });
const stalenessBounds = z.strictObject({ newHandshake: bound, openConnection: bound });

/** The bodies of all entries that this software folds: kind and version → what the body must look like. */
export const entryBodies = {
  genesis: z.strictObject({
    trustDomain,
    createdAtSeconds: seconds,
    isTestDomain: z.boolean(),
    /** Makes the genesis hash unguessable and every domain's log its own. */
    salt: bytes(16, 32),
    logKey: z.string().max(400),
    foldVersion: z.int().min(1),
    keys: z.array(key).min(1).max(64),
    authority: z.record(kindName, grant),
    staleness: z.strictObject({
      public: stalenessBounds,
      internal: stalenessBounds,
      confidential: stalenessBounds,
      restricted: stalenessBounds,
    }),
  }),
  epoch: z.strictObject({
    number: z.int().min(1),
    timeSeconds: seconds,
    /** How many entries folded to the state of the digest: an epoch entry speaks for its own place in the log only. */
    size: z.int().min(1),
    stateDigest: bytes(32, 32),
    curatorDigest: z.null(),
  }),
  /** Takes the log up again after its first `size` entries, whose root is `root`, under another key of the log. */
  "log.recover": z.strictObject({
    generation: z.int().min(2).max(generationMax),
    size: z.int().min(1),
    root: bytes(32, 32),
    logKey: z.string().max(400),
  }),
  "authority.put": z.strictObject({
    kinds: z
      .array(kindName)
      .min(1)
      .max(grantedKindsMax)
      .refine((kinds) => new Set(kinds).size === kinds.length, "expected each kind once"),
    grant,
  }),
  "key.put": key,
  "key.remove": z.strictObject({ name: noteName }),
  "ca.trust": z.strictObject({ certificate: bytes(64, 8192) }),
  "ca.issue": z.strictObject({ certificate: bytes(64, 8192) }),
  "service.put": z.strictObject({
    name: servicePrefix,
    nodes: z
      .array(z.union([nodeName, z.literal("*")]))
      .min(1)
      .max(256),
    dataClass,
    /** The owning team and the deployment environment; empty where not stated. */
    team: wordOrNone,
    environment: wordOrNone,
    labels,
  }),
  "service.remove": z.strictObject({ name: servicePrefix }),
  "rule.put": z.strictObject({
    from: servicePattern,
    to: servicePattern,
    effect: z.enum(["allow", "deny"]),
    methods: z.array(methodName).max(16),
    paths: z.array(requestPath).max(64),
  }),
  "rule.remove": z.strictObject({ from: servicePattern, to: servicePattern }),
  /**
   * How calls of a service are carried, in force in every caller's proxy. The first route that fits counts; what it says
   * takes the place of what is said for the whole service.
   */
  "traffic.put": z.strictObject({
    service: servicePrefix,
    protocol: z.enum(["http", "tcp"]),
    timeoutMillis: timeoutOrNoneMillis.exactOptional(),
    retries: retries.exactOptional(),
    /** Retries per hundred requests of one caller's proxy, on all routes together. */
    retryBudgetPercent: percent.exactOptional(),
    /** Requests that one caller's proxy has at one instance at a time. */
    inFlightMax: z.int().min(1).max(100_000).exactOptional(),
    /** When one caller's proxy leaves an instance alone, for how long, and how many of a service at most. */
    outliers: z
      .strictObject({
        consecutiveFailures: z.int().min(1).max(1_000),
        ejectSeconds: z.int().min(1).max(3_600),
        ejectSecondsMax: z.int().min(1).max(86_400),
        ejectPercentMax: percent,
      })
      .exactOptional(),
    routes: z.array(trafficRoute).max(trafficRoutesMax),
  }),
  "traffic.remove": z.strictObject({ service: servicePrefix }),
  "node.invite": z.strictObject({ node: nodeName, inviteKey: bytes(32, 32), expiresAtSeconds: seconds }),
  "node.join": z.strictObject({
    node: nodeName,
    inviteKey: bytes(32, 32),
    nodeKey: bytes(32, 32),
    proof: bytes(64, 64),
  }),
  "node.remove": z.strictObject({ node: nodeName }),
  /** Where a node is; what it runs is called from the same zone first. */
  "node.zone": z.strictObject({ node: nodeName, zone: wordOrNone }),
  "instance.register": z.strictObject({
    instance: uuid,
    service: servicePrefix,
    node: nodeName,
    auditKey: z.string().max(400),
  }),
  "instance.remove": z.strictObject({ instance: uuid }),
  "instance.drain": z.strictObject({ instance: uuid }),
  "instance.resume": z.strictObject({ instance: uuid }),
  "svid.issue": z.strictObject({
    certificate: sha256Hex,
    spiffeId: z
      .string()
      .max(2048)
      .regex(/^spiffe:\/\//),
    instance: uuid,
    serial: z.string().regex(/^[0-9a-f]{2,40}$/),
    notBeforeSeconds: seconds,
    notAfterSeconds: seconds,
  }),
} as const;

/** The version in which every kind above is written and understood. */
export const entryVersion = 1;

/**
 * Which of all kinds a software folds: it has those that came with this number or an earlier one. Goes up by one where
 * a version adds a kind, or lets the body of one hold more; what has it is named in {@link revisionOf}.
 */
export const entryRevision = 2;

/** What came later than the first revision. */
const laterKinds: ReadonlyMap<string, number> = new Map([
  ["traffic.put", 2],
  ["traffic.remove", 2],
  ["node.zone", 2],
]);

/** The revision that a follower must have in order to fold an entry of a kind; without it, it stops before the entry. */
export function revisionOf(kind: string): number {
  return laterKinds.get(kind) ?? 1;
}

/** A kind of entry that this software folds. */
export type EntryKind = keyof typeof entryBodies;

/** What the body of an entry of a kind holds. */
export type EntryBody<Kind extends EntryKind> = z.infer<(typeof entryBodies)[Kind]>;

/** Who may write to the log, in which capacity. */
export type AuthorRole = z.infer<typeof role>;

/** How sensitive what a service handles is (design: the staleness table has a row for each). */
export type DataClass = z.infer<typeof dataClass>;

/** How long a follower may be without a new epoch before it degrades and before it refuses. */
export type StalenessBound = z.infer<typeof bound>;

/** Whether a kind is one that this software folds. */
export function isEntryKind(kind: string): kind is EntryKind {
  return Object.hasOwn(entryBodies, kind);
}
