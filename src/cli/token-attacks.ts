import type { CalledProxy, HandConnection, HandMember, HandReply, HandRequest } from "../data-plane/index.ts";

/** Where attacks with request tokens happen. */
export interface TokenGround {
  /** May call the callee; its proxy has been taken over, so its tokens and grants are in the attacker's hands. */
  readonly victim: HandMember;
  /** The attacker's own place in the mesh. */
  readonly thief: HandMember;
  readonly callee: CalledProxy;
  /** Another proxy than the callee's. */
  readonly other: CalledProxy;
  /** Something that the victim may ask the callee for. */
  readonly request: HandRequest;
  /** Starts the callee's proxy anew; where it is then. */
  readonly restart: () => Promise<CalledProxy>;
}

/** What an attacker does with a request token, and why it is refused. */
export interface TokenAttack {
  readonly name: string;
  readonly story: string;
  /** What the callee's proxy says to it. */
  readonly expected: string;
  /** The last answer is that to the attack; any before it is to something honest, and has to be a good one. */
  readonly run: (ground: TokenGround) => Promise<readonly HandReply[]>;
}

const staleMillis = 60_000;

/** The attacks with captured tokens, wrong clocks and stolen grants. */
export const tokenAttacks: readonly TokenAttack[] = [
  {
    name: "replay",
    story:
      "somebody in payments' sidecar sends a request to the ledger a second time, with the token that it had",
    expected: "request-token-replayed",
    run: async ({ victim, callee, request }) => {
      await using connection = await victim.connect(callee);
      const token = await connection.mint(request);
      return [await connection.ask(request, token), await connection.ask(request, token)];
    },
  },
  {
    name: "replay-on-another-connection",
    story: "the same, with a token that nobody has used yet, on a connection of its own",
    expected: "request-token-invalid",
    run: async (ground) => showCaptured(ground, () => Promise.resolve(ground.callee)),
  },
  {
    name: "replay-at-another-proxy",
    story: "the same, at the proxy of another service",
    expected: "request-token-mismatch",
    run: async (ground) => showCaptured(ground, () => Promise.resolve(ground.other)),
  },
  {
    name: "replay-after-restart",
    story: "the same, at the ledger's proxy once that has started anew and forgotten what was used",
    expected: "request-token-invalid",
    run: async (ground) => showCaptured(ground, ground.restart),
  },
  {
    name: "stale-clock",
    story: "a token is held back for a minute before it is shown",
    expected: "request-token-expired",
    run: async (ground) => showAtAnotherTime(ground, -staleMillis),
  },
  {
    name: "fast-clock",
    story: "a token is made in store, for the minute to come",
    expected: "request-token-future",
    run: async (ground) => showAtAnotherTime(ground, staleMillis),
  },
  {
    name: "stolen-grant",
    story:
      "mallory mints with the grant that she took from payments, on a connection with her own certificate",
    expected: "request-token-invalid",
    run: async ({ victim, thief, callee, request }) => {
      await using robbed = await victim.connect(callee);
      await using connection = await thief.connect(callee);
      return [
        await askHonestly(robbed, request),
        await connection.ask(request, await connection.mint(request, { victim: robbed })),
      ];
    },
  },
];

/** A token of one connection, shown on another. */
async function showCaptured(
  { victim, callee, request }: TokenGround,
  target: () => Promise<CalledProxy>,
): Promise<readonly HandReply[]> {
  await using connection = await victim.connect(callee);
  const honest = await askHonestly(connection, request);
  const captured = await connection.mint(request);
  await using another = await victim.connect(await target());
  return [honest, await another.ask(request, captured)];
}

async function showAtAnotherTime(
  { victim, callee, request }: TokenGround,
  shiftMillis: number,
): Promise<readonly HandReply[]> {
  await using connection = await victim.connect(callee);
  const honest = await askHonestly(connection, request);
  return [honest, await connection.ask(request, await connection.mint(request, { shiftMillis }))];
}

async function askHonestly(connection: HandConnection, request: HandRequest): Promise<HandReply> {
  return connection.ask(request, await connection.mint(request));
}
