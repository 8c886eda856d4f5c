import { z } from "zod";
import { bytesOfBase64 } from "../base/bytes.ts";
import { uuidPattern } from "../base/uuid.ts";
import { isNormalPath } from "./path-form.ts";
import { isNoteName } from "./signed-note.ts";

const labelsMax = 16;
const generationMax = 1_000;
const grantedKindsMax = 64;
const trafficRoutesMax = 64;
const timeoutMillisMax = 3_600_000;
/** A nonce is remembered for as long as its token would be taken. */
const requestTokenPastSecondsMax = 120;
const requestTokenFutureSecondsMax = 60;
const evidenceNumbersMax = 8;
const evidenceValueMax = 1_000_000_000_000;

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
const uuid = z.string().regex(uuidPattern, "expected a lower-case UUID").describe("lower-case UUID");
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

/** A caller of another trust domain: its SPIFFE ID, or one that ends in `/*` and covers all below it. */
const foreignCaller = z
  .string()
  .max(2048)
  .regex(
    /^spiffe:\/\/[a-z0-9._-]{1,255}(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._-]{1,255}){0,16}(\/\*|\/(?!\.{1,2}$)[A-Za-z0-9._-]{1,255})$/,
    "expected a SPIFFE ID of another trust domain, or one and /*",
  )
  .describe("SPIFFE ID with a path, or one that ends in `/*`");
/** A selector such as `unix:uid:1000`, in the words that SPIRE uses. */
const selector = z
  .string()
  .max(512)
  .regex(/^[a-z0-9][a-z0-9-]*:[!-~][ -~]*$/, "expected a selector such as unix:uid:1000")
  .describe("selector such as `unix:uid:1000`, as SPIRE writes them");
const entryName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "expected a lower-case name of letters, digits and hyphens")
  .describe("lower-case name of letters, digits and hyphens");
const hostAndPort = z
  .string()
  .max(261)
  .regex(/^[^\s:[\]]{1,255}:[0-9]{1,5}$|^\[[0-9a-f:.]{2,45}\]:[0-9]{1,5}$/, "expected host:port")
  .describe("host:port");
/** Why something no longer counts: the reasons of RFC 5280, section 5.3.1, that fit a mesh. */
const revocationReason = z.enum([
  "unspecified",
  "key-compromise",
  "ca-compromise",
  "superseded",
  "cessation-of-operation",
  "privilege-withdrawn",
]);
/** Lower-case hex of a key identifier (RFC 5280, section 4.2.1.2). */
const keyId = z
  .string()
  .regex(/^([0-9a-f]{2}){1,64}$/)
  .describe("key identifier, lower-case hex");
const tokenId = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[!-~]+$/)
  .describe("the `jti` of a token");

/** Why an instance is degraded, quarantined or released. */
const standingReason = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,62}$/, "expected lower-case letters, digits and hyphens")
  .describe("lower-case words with hyphens");
/** The few numbers that a decision rests on, by name; measurements themselves stay out of the log. */
const evidence = z
  .record(z.string().regex(/^[a-z][A-Za-z0-9]{0,31}$/), z.int().min(0).max(evidenceValueMax))
  .refine((map) => Object.keys(map).length <= evidenceNumbersMax, "expected fewer numbers")
  .describe("at most 8 whole numbers by name");
/** A decision's number is the index of its entry. */
const decisionNumber = z.int().min(0).describe("index of the entry that decided");

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

const requestTokenMode = z.enum(["granted", "per-request", "off"]);

/** What an entry says of a certificate. */
const issuedSvid = {
  certificate: sha256Hex,
  spiffeId: z
    .string()
    .max(2048)
    .regex(/^spiffe:\/\//),
  instance: uuid,
  serial: z.string().regex(/^[0-9a-f]{2,40}$/),
  notBeforeSeconds: seconds,
  notAfterSeconds: seconds,
};

/** What a grant of a prefix says, besides of which. */
const grantedPrefix = {
  holder: servicePrefix.describe("service that may serve it"),
  depthMax: z.int().min(0).max(15).describe("how many components below the prefix are covered"),
  mayDelegate: z.boolean(),
  notAfterSeconds: seconds.describe("seconds since 1970; 0 for no end"),
};
/** What the holder of a prefix signs of a part of it. */
const holdersWord = {
  under: servicePrefix,
  grant: z.int().min(1),
  sequence: z.int().min(1),
  prefix: servicePrefix,
  instance: uuid,
  certificate: bytes(64, 8192).describe("base64 of the SVID's certificate (DER), whose key is of P-256"),
  signature: bytes(64, 64),
};

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
  "svid.issue": z.strictObject(issuedSvid),
  /**
   * As `svid.issue`, and by which authority's key, in which generation of the instance's certificates (they count up by
   * one, except where the same key asks again because the answer was lost) and for which key.
   */
  "svid.put": z.strictObject({
    ...issuedSvid,
    authorityKeyId: keyId,
    generation: z.int().min(1),
    keySha256: sha256Hex,
  }),
  /** Who may obtain a service's identity over the Workload API: a process that has all of the selectors. */
  "workload.put": z.strictObject({
    name: entryName,
    service: servicePrefix,
    selectors: z
      .array(selector)
      .min(1)
      .max(16)
      .refine((all) => new Set(all).size === all.length, "expected each selector once"),
    hint: z.string().max(1024),
  }),
  "workload.remove": z.strictObject({ name: entryName }),
  /** For ever: the instance, and all certificates that it has. */
  "instance.revoke": z.strictObject({ instance: uuid, reason: revocationReason }),
  /** For ever, by the control plane: two have asked for certificates as this instance. */
  "instance.lock": z.strictObject({ instance: uuid }),
  /** Its certificates are to be replaced now; they count until their end, and nothing is cut. */
  "instance.renew": z.strictObject({ instance: uuid }),
  "svid.revoke": z.strictObject({ certificate: sha256Hex, reason: revocationReason }),
  "token.revoke": z.strictObject({ id: tokenId, expiresAtSeconds: seconds, reason: revocationReason }),
  /** Until it is lifted: no instance of the service, or none on the node, has an identity. */
  "service.hold": z.strictObject({ name: servicePrefix, reason: revocationReason }),
  "service.lift": z.strictObject({ name: servicePrefix }),
  "node.hold": z.strictObject({ node: nodeName, reason: revocationReason }),
  "node.lift": z.strictObject({ node: nodeName }),
  /** A key that signs tokens: in the bundle from now on, and in use once it is activated. */
  "jwk.put": z.strictObject({
    use: z.enum(["jwt-svid", "wit-svid"]),
    publicKey: bytes(64, 1024).describe("base64 of a SubjectPublicKeyInfo, P-256"),
    notAfterSeconds: seconds,
  }),
  /**
   * The life of an authority: a certificate of `ca.trust` or `ca.issue`, named by its SHA-256, or a key of `jwk.put`,
   * named by that of its SubjectPublicKeyInfo. What is activated signs from then on; what is tainted is replaced
   * wherever it has signed; what is revoked signs nothing that counts, ever.
   */
  "ca.activate": z.strictObject({ authority: sha256Hex }),
  "ca.taint": z.strictObject({ authority: sha256Hex }),
  "ca.revoke": z.strictObject({ authority: sha256Hex, reason: revocationReason }),
  /** Another trust domain whose workloads may be known here: where its bundle is, and how that place proves itself. */
  "federation.put": z.strictObject({
    trustDomain,
    url: z
      .string()
      .max(2048)
      .regex(/^https:\/\/[^\s@#]+$/, "expected an https URL without user information"),
    profile: z.enum(["https_web", "https_spiffe"]),
    endpointSpiffeId: z
      .string()
      .max(2048)
      .regex(/^spiffe:\/\//)
      .exactOptional(),
    /** A SPIFFE bundle (JSON) to begin with; https_spiffe cannot do without. */
    bundle: z.string().max(65_536).exactOptional(),
  }),
  /** What the bundle endpoint of a federated trust domain last said (JSON), as the control plane read it. */
  "federation.bundle": z.strictObject({ trustDomain, bundle: z.string().max(65_536) }),
  "federation.remove": z.strictObject({ trustDomain }),
  /** Where a service of a federated trust domain is reached. */
  "remote.put": z.strictObject({
    trustDomain,
    service: servicePrefix,
    addresses: z.array(hostAndPort).min(1).max(16),
  }),
  "remote.remove": z.strictObject({ trustDomain, service: servicePrefix }),
  /** As `rule.put`, for callers of a federated trust domain. */
  "foreignrule.put": z.strictObject({
    from: foreignCaller,
    to: servicePattern,
    effect: z.enum(["allow", "deny"]),
    methods: z.array(methodName).max(16),
    paths: z.array(requestPath).max(64),
  }),
  "foreignrule.remove": z.strictObject({ from: foreignCaller, to: servicePattern }),
  /**
   * Whether requests to a service carry request tokens: minted by the caller's proxy under a grant (`granted`), one by one
   * by the issuer (`per-request`), or not at all (`off`). The most specific pattern counts; without any, none are asked for.
   */
  "requesttoken.put": z.strictObject({
    to: servicePattern,
    mode: requestTokenMode,
    /** How far a token's time may be from the issuer's: 30 s behind and 5 s ahead where not said. */
    window: z
      .strictObject({
        pastSeconds: z.int().min(1).max(requestTokenPastSecondsMax),
        futureSeconds: z.int().min(1).max(requestTokenFutureSecondsMax),
      })
      .exactOptional(),
  }),
  "requesttoken.remove": z.strictObject({ to: servicePattern }),
  /** Lets a service serve a prefix besides its own name, and so many components below it; `0` ends with nothing but a withdrawal. */
  "prefix.grant": z.strictObject({ prefix: servicePrefix, ...grantedPrefix }),
  "prefix.withdraw": z.strictObject({ prefix: servicePrefix }),
  /**
   * Hands a part of a prefix on, or takes it back: the holder of `under` has signed it by the present SVID of one of its
   * instances, about the very grant that the entry at the index `grant` gave it, with a number that goes up by one.
   */
  "prefix.delegate": z.strictObject({ ...holdersWord, ...grantedPrefix }),
  "prefix.recall": z.strictObject(holdersWord),
  /** Callers send an instance what no other can take, until it is released. */
  "instance.degrade": z.strictObject({ instance: uuid, reason: standingReason, evidence }),
  /** An instance is called by nobody and calls nobody, until it is released. */
  "instance.quarantine": z.strictObject({ instance: uuid, reason: standingReason, evidence }),
  /** Ends what the decision of this number says, the one in force; an older one has been replaced and is not ended. */
  "instance.release": z.strictObject({ instance: uuid, decision: decisionNumber }),
  /** The same three, as the control plane's own decisions; `decision` is the one that this one replaces, 0 for none. */
  "instance.judge": z.strictObject({
    instance: uuid,
    standing: z.enum(["serving", "degraded", "quarantined"]),
    reason: standingReason,
    evidence,
    decision: decisionNumber,
  }),
} as const;

/** A kind of entry that this software folds. */
export type EntryKind = keyof typeof entryBodies;

/** What the body of an entry of a kind holds. */
export type EntryBody<Kind extends EntryKind> = z.infer<(typeof entryBodies)[Kind]>;

/** All reasons for which something may be revoked. */
export const revocationReasons: readonly RevocationReason[] = revocationReason.options;

/** Why something was revoked (RFC 5280, section 5.3.1). */
export type RevocationReason = z.infer<typeof revocationReason>;

/** Who may write to the log, in which capacity. */
export type AuthorRole = z.infer<typeof role>;

/** How sensitive what a service handles is (design: the staleness table has a row for each). */
export type DataClass = z.infer<typeof dataClass>;

/** How a service's callers come by request tokens. */
export type RequestTokenMode = z.infer<typeof requestTokenMode>;

/** How long a follower may be without a new epoch before it degrades and before it refuses. */
export type StalenessBound = z.infer<typeof bound>;

/** Whether a kind is one that this software folds. */
export function isEntryKind(kind: string): kind is EntryKind {
  return Object.hasOwn(entryBodies, kind);
}
