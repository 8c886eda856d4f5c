import type { MessageInitShape } from "@bufbuild/protobuf";
import { publicKeyBytes } from "../../crypto/index.ts";
import type { OwnKeySchema } from "../../protocol/index.ts";
import type { OwnKey } from "../log-keys.ts";
import type { ControlPlaneParts } from "./parts.ts";

/** The keys by which the control plane acts, or is going to, as the admin API shows them. */
export function ownKeys({ keys, issuer }: ControlPlaneParts): MessageInitShape<typeof OwnKeySchema>[] {
  const { state } = issuer.writer;
  return [
    ...keys
      .held(state)
      .map((own) => ownKeyOf(own, keys.signer(own.role, state) === own.key ? "acting" : "idle")),
    ...keys.prepared(state).map((own) => ownKeyOf(own, "prepared")),
  ];
}

/** One of them. */
export function ownKeyOf(
  { role, key }: OwnKey,
  state: "prepared" | "idle" | "acting",
): MessageInitShape<typeof OwnKeySchema> {
  return { name: key.name, role, publicKey: publicKeyBytes(key.publicKey), state };
}
