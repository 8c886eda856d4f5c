import { textOf } from "../../base/bytes.ts";
import type { Log } from "../../base/log.ts";
import { messageOf } from "../../base/mesh-error.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { isStrictObject, parseStrictJson, type StrictJson } from "../../base/strict-json.ts";
import type { CallerProcess, Procfs } from "../../peer-process/index.ts";
import { askHttp } from "./ask-http.ts";

/** Containers in containers in containers. */
const nestedMax = 4;
const answerBytesMax = 1024 * 1024;
const labelsMax = 256;
const selectorCharactersMax = 1_024;
/** Asked at a time; a container that comes beyond that has no selectors for the moment. */
const questionsMax = 16;

/** The runtime of the containers that are told apart. */
export interface ContainerOptions {
  /** The Unix socket of the Docker Engine API, which Podman serves too. */
  readonly socketPath: string;
}

/** What the runtime says of one container. */
interface Container {
  /** Of its first process, in the runtime's pid namespace. */
  readonly pid: number;
  readonly startedAt: string;
  readonly selectors: readonly string[];
}

/** What a process is by the container that it runs in, as the machine's runtime has it. */
export class ContainerSelectors {
  readonly #socketPath: string;
  readonly #procfs: Pick<Procfs, "cgroups">;
  readonly #log: Log;
  #asking = 0;
  #isFailing = false;

  constructor(
    { socketPath }: ContainerOptions,
    { procfs, log }: { readonly procfs: Pick<Procfs, "cgroups">; readonly log: Log },
  ) {
    this.#socketPath = socketPath;
    this.#procfs = procfs;
    this.#log = log;
  }

  /**
   * In SPIRE's words: `docker:label:KEY:VALUE`, `docker:image_id:NAME`, `docker:image_config_digest:sha256:…`; none of a
   * process that is in no container of this runtime. Whether the process still is the one that was meant is for the
   * caller to look at afterwards. Never throws.
   */
  async of({ pid }: Pick<CallerProcess, "pid">): Promise<readonly string[]> {
    const groups = this.#procfs.cgroups(pid);
    for (const [hierarchy, path] of groups)
      for (const id of containersIn(path)) {
        const found = await this.#containerOf(id, hierarchy, path);
        if (found.ok) return found.value;
        this.#log.debug("not of this container", { pid, id, reason: found.reason, detail: found.detail });
        // Where one cannot be asked about, none can.
        if (found.reason === "no-answer") return [];
      }
    return [];
  }

  /**
   * A control group has the name that whoever may make one gives it, which may be the id of a container of somebody else;
   * so the process must be in the group of that container's own first process, or below it.
   */
  async #containerOf(
    id: string,
    hierarchy: string,
    path: string,
  ): Promise<Result<readonly string[], string>> {
    const before = await this.#inspect(id);
    if (!before.ok) return before;
    const root = this.#procfs.cgroups(before.value.pid).get(hierarchy);
    // Its number may have been given out again while it was looked at.
    const after = await this.#inspect(id);
    if (!after.ok) return after;
    if (after.value.pid !== before.value.pid || after.value.startedAt !== before.value.startedAt)
      return fail("changed-meanwhile");
    if (
      root === undefined ||
      !(path === root || path.startsWith(`${root}/`)) ||
      !containersIn(root).includes(id)
    )
      return fail("other-group", `its first process is in ${root ?? "none"}`);
    return ok(before.value.selectors);
  }

  async #inspect(id: string): Promise<Result<Container, string>> {
    if (this.#asking >= questionsMax) return fail("no-answer", `${questionsMax} questions are being asked`);
    this.#asking += 1;
    try {
      const url = `http://localhost/containers/${id}/json`;
      const text = textOf(await askHttp({ url, socketPath: this.#socketPath, bytesMax: answerBytesMax }));
      this.#note(undefined);
      return readContainer(text ?? "", id);
    } catch (error) {
      const why = messageOf(error);
      const isUnknown = why === "status 404";
      this.#note(isUnknown ? undefined : why);
      return isUnknown ? fail("unknown-container") : fail("no-answer", why);
    } finally {
      this.#asking -= 1;
    }
  }

  #note(error: string | undefined): void {
    if (error !== undefined && !this.#isFailing)
      this.#log.warn("the container runtime cannot be asked: no process has docker selectors", {
        socket: this.#socketPath,
        error,
      });
    if (error === undefined && this.#isFailing) this.#log.info("the container runtime answers again");
    this.#isFailing = error !== undefined;
  }
}

/** The ids in a control group's path, outermost first: `/docker/ID`, `/system.slice/docker-ID.scope`, `/libpod-ID`, … */
function containersIn(path: string): string[] {
  const ids = path
    .split("/")
    .flatMap((part) => /^(?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?$/.exec(part)?.[1] ?? []);
  return ids.slice(0, nestedMax);
}

function readContainer(text: string, id: string): Result<Container, "malformed-container" | "not-running"> {
  const json = parseStrictJson(text);
  const container = json.ok ? json.value : undefined;
  const [state, config] = [memberOf(container, "State"), memberOf(container, "Config")];
  const [pid, startedAt] = [memberOf(state, "Pid"), memberOf(state, "StartedAt")];
  if (memberOf(container, "Id") !== id) return fail("malformed-container", "another id, or no JSON");
  if (memberOf(state, "Running") !== true) return fail("not-running");
  if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid <= 0 || typeof startedAt !== "string")
    return fail("malformed-container", "State");
  const labels = memberOf(config, "Labels");
  const pairs = isStrictObject(labels) ? [...labels].slice(0, labelsMax) : [];
  const [image, digest] = [memberOf(config, "Image"), memberOf(container, "Image")];
  const selectors = [
    ...pairs.flatMap(([key, value]) => (typeof value === "string" ? [`docker:label:${key}:${value}`] : [])),
    ...(typeof image === "string" ? [`docker:image_id:${image}`] : []),
    ...(typeof digest === "string" ? [`docker:image_config_digest:${digest}`] : []),
  ];
  const short = selectors.filter(({ length }) => length <= selectorCharactersMax);
  return ok({ pid, startedAt, selectors: short });
}

function memberOf(value: StrictJson | undefined, name: string): StrictJson | undefined {
  return isStrictObject(value) ? value.get(name) : undefined;
}
