import { CliError, exitCode } from "../exit-codes.ts";
import { meshDirectory } from "../mesh-directory.ts";
import { type OutputFormat, printAnswer, talk } from "../output.ts";
import { askToReplace, drainSecondsMax, type FoundRun, findRuns } from "../run-socket.ts";

const prefixCharactersMin = 4;

/** A sidecar and the one that has its place now. */
interface Replaced {
  readonly service: string;
  readonly before: string;
  readonly after: string;
  readonly millis: number;
}

/** `troth proxy replace`: starts sidecars of this machine anew, as the program is on disk now, without losing a request. */
export async function replaceProxies(
  name: string | undefined,
  options: { dir: string; all: boolean; drainSeconds: number; output: OutputFormat },
): Promise<void> {
  if (options.drainSeconds > drainSecondsMax)
    throw new CliError(exitCode.usage, `--drain-seconds takes at most ${drainSecondsMax}`);
  const named = namedOf(name, options.all, await findRuns(meshDirectory(options.dir)));
  const items: Replaced[] = [];
  // One after the other, and not on after a failure: what is wrong with one is likely wrong with all.
  const replaceAll = async (): Promise<void> => {
    for (const run of named) {
      const started = performance.now();
      const { instance } = await askToReplace(run, options.drainSeconds);
      const millis = Math.round(performance.now() - started);
      items.push({ service: run.service, before: run.instance, after: instance, millis });
    }
  };
  const replacing = replaceAll();
  await replacing.catch(() => {});
  if (items.length < named.length - 1) talk(`note: ${named.length - items.length - 1} more not tried`);
  printAnswer(options.output, "ReplaceReport", { items }, () =>
    items
      .map(
        ({ service, before, after, millis }) =>
          `${service} ${before.slice(0, 8)} replaced by ${after.slice(0, 8)} after ${(millis / 1000).toFixed(1)} s\n`,
      )
      .join(""),
  );
  await replacing;
}

function namedOf(name: string | undefined, isAll: boolean, runs: readonly FoundRun[]): readonly FoundRun[] {
  if (name === undefined && !isAll)
    throw new CliError(
      exitCode.usage,
      "name a service or an instance, or say --all for every one of this machine",
    );
  const service = name === undefined || name.startsWith("/") ? name : `/${name}`;
  const named = runs.filter(
    (run) =>
      name === undefined ||
      run.service === service ||
      (name.length >= prefixCharactersMin && run.instance.startsWith(name)),
  );
  if (named.length === 0)
    throw new CliError(
      exitCode.notFound,
      `no troth run of this user and mesh directory runs ${name ?? "anything"} on this machine; a sidecar is replaced on its own machine: troth proxy status shows which`,
    );
  if (named.length > 1 && !isAll)
    throw new CliError(
      exitCode.usage,
      `${name} has ${named.length} instances here: ${named.map(({ instance }) => instance.slice(0, 8)).join(", ")}; name one, or say --all`,
    );
  return named;
}
