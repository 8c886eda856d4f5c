import { createClient } from "@connectrpc/connect";
import {
  type Alarm,
  type AskRequestTokenIssuerRequest,
  type AskRequestTokenIssuerResponse,
  type FollowerStatus,
  Mesh,
  type Update,
} from "../../src/protocol/index.ts";
import { openRpcConnection, openRpcServer } from "../../src/transport/index.ts";

/** Stands between a sidecar and the real node agent. */
export interface DeceitfulAgent extends AsyncDisposable {
  readonly socketPath: string;
  /** What the sidecar has reported as wrong. */
  readonly alarms: Alarm[];
  /** What it last said of itself. */
  readonly reported: () => FollowerStatus | undefined;
  /** How often the sidecar has begun to follow. */
  readonly follows: () => number;
  /** Sends something of its own between what the real agent sends. */
  readonly say: (update: Update) => void;
}

/** What the real agent is asked for on behalf of a sidecar that wants something of the issuer of request tokens. */
export type HandOn = (
  question: AskRequestTokenIssuerRequest,
) => Promise<Pick<AskRequestTokenIssuerResponse, "sealed" | "signature">>;

/** Relays everything but what `alter` makes of each update: another one, or none. */
export async function openDeceitfulAgent(
  socketPath: string,
  realSocketPath: string,
  alter: (update: Update) => Update | undefined,
  answer: (question: AskRequestTokenIssuerRequest, handOn: HandOn) => ReturnType<HandOn> = (
    question,
    handOn,
  ) => handOn(question),
): Promise<DeceitfulAgent> {
  const alarms: Alarm[] = [];
  let reported: FollowerStatus | undefined;
  let follows = 0;
  let own: Update[] = [];
  let wake = (): void => {};
  const connection = await openRpcConnection({ kind: "unix", path: realSocketPath });
  const real = createClient(Mesh, connection.transport);
  const server = await openRpcServer({ kind: "unix", path: socketPath }, (router) => {
    router.service(Mesh, {
      follow: async function* (request, context) {
        follows += 1;
        const updates = real.follow(request, { signal: context.signal })[Symbol.asyncIterator]();
        let next = updates.next();
        while (!context.signal.aborted) {
          const woken = new Promise<undefined>((resolve) => {
            wake = () => resolve(undefined);
          });
          if (own.length > 0) wake();
          const result = await Promise.race([next, woken]);
          const lies = own;
          own = [];
          yield* lies;
          if (result === undefined) continue;
          if (result.done === true) return;
          next = updates.next();
          const altered = alter(result.value);
          if (altered !== undefined) yield altered;
        }
      },
      issueSvid: (request) => real.issueSvid(request),
      askRequestTokenIssuer: (question) => answer(question, (given) => real.askRequestTokenIssuer(given)),
      report: (request) => {
        alarms.push(...request.alarms);
        reported = request.followers.at(-1) ?? reported;
        return real.report(request);
      },
    });
  });
  return {
    socketPath,
    alarms,
    reported: () => reported,
    follows: () => follows,
    say: (update) => {
      own.push(update);
      wake();
    },
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      connection[Symbol.dispose]();
    },
  };
}
