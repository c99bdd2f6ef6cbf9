import { mkdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { PrismrecError } from "@prismrec/core/errors";
import { fromFileError, systemCode } from "@prismrec/core/file-errors";
import type { RawServiceSettings, Service } from "@prismrec/service";
import { type Command, InvalidArgumentError } from "commander";
import { shellQuote } from "../format.js";
import type { Io } from "../io.js";
import type { ServedPaths } from "../open-served.js";
import { type DeviceFlag, deviceOption, positive } from "../options.js";
import type { Lock } from "../pipeline/run-directory/lock.js";
import { EVENTS_FILE } from "../service-files.js";
import { type Session, withSession } from "../session.js";
import { describeError } from "../terminal/describe-error.js";
import { plain } from "../terminal/style.js";
import { VERSION } from "../version.js";

interface ServeFlags extends DeviceFlag {
  readonly host: string;
  readonly port: number;
  readonly apiKeyFile?: string;
  readonly events: string | boolean;
  readonly log?: string;
  readonly rules?: string;
  readonly variants?: string;
  readonly cors?: string[];
  readonly kMax: number;
  readonly bodyMax: number;
  readonly timeout: number;
  readonly concurrency: number;
  readonly queueMax: number;
  readonly rate: number;
}

export function addServe(program: Command, io: Io): void {
  program
    .command("serve")
    .summary("answer over HTTP: lists, interests, similar items, events, metrics, a web page")
    .description(
      "Serves a run as JSON over HTTP, with a page at / to try it. Ends the requests under way at SIGTERM or SIGINT; at " +
        "SIGHUP opens the run anew and puts it in the place of the old one without dropping a request.",
    )
    .argument("<run>", "run directory, or what save wrote")
    .option("--host <address>", "address to listen on; other than loopback it is reached from outside", "127.0.0.1")
    .option("--port <n>", "port to listen on; 0: any that is free", port, 8080)
    .option("--api-key-file <file>", "file with the API key that requests must carry (or PRISMREC_API_KEY)")
    .option("--events <file>", `journal of events that are sent (default: ${EVENTS_FILE} in the run)`)
    .option("--no-events", "take no events, and write nothing")
    .option("--log <file>", "exposure log: one JSON line for each list that is given")
    .option("--rules <file>", "business rules of all lists, read again at SIGHUP")
    .option("--variants <file>", "variants of an experiment, each for a share of the users, read again at SIGHUP")
    .option("--cors <origin...>", "origins whose pages may call the service (default: none)")
    .option("--k-max <n>", "longest list that may be asked for", positive, 100)
    .option("--body-max <bytes>", "longest body of a request", positive, 1024 * 1024)
    .option("--timeout <ms>", "longest that a request may take", positive, 10_000)
    .option("--concurrency <n>", "requests that are worked on at once", positive, 8)
    .option("--queue-max <n>", "requests that may wait; further ones are refused", positive, 256)
    .addOption(deviceOption())
    .option("--rate <n>", "requests a minute of one client; 0: any number", fromZero, 6000)
    .addHelpText(
      "after",
      "\nExamples:\n  prismrec serve runs/ml\n  prismrec serve runs/ml --port 80 --host 0.0.0.0 --api-key-file key.txt --log shown.jsonl" +
        "\n  prismrec serve runs/ml --rules rules.json\n  prismrec serve runs/ml --variants experiment.json --log shown.jsonl",
    )
    .action((dir: string, flags: ServeFlags, own: Command) =>
      withSession(io, own, (session) => serve(resolve(io.cwd, dir), flags, session)),
    );
}

async function serve(dir: string, flags: ServeFlags, session: Session): Promise<void> {
  const { io, ui, signal } = session;
  const [{ Service }, { openServed }, { acquireLock }] = await Promise.all([
    import("@prismrec/service"),
    import("../open-served.js"),
    import("../pipeline/run-directory/lock.js"),
  ]);
  const paths = servedPaths(dir, flags, io.cwd);
  const apiKey = await apiKeyOf(flags, io);
  if (apiKey === undefined && !isLoopback(flags.host)) {
    ui.warn(`anybody who reaches ${plain(flags.host)} is answered: no API key is set (--api-key-file)`);
  }
  // That there is a run is known before anything is written into its folder.
  await (await session.read(dir)).close();
  const events = eventsFile(dir, flags.events, io.cwd);
  await using _lock = events === undefined ? undefined : await lockFolder(dirname(events), acquireLock);
  await using service = await Service.create({
    open: (stop) =>
      openServed(paths, { signal: stop, ...(flags.device === undefined ? {} : { device: flags.device }) }),
    settings: settingsOf(flags),
    version: VERSION,
    onError: (error, requestId) => ui.error(`request ${requestId}: ${describeError(error, ui.err, ui.verbose)}`),
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(events === undefined ? {} : { events }),
    ...(flags.log === undefined ? {} : { exposures: resolve(io.cwd, flags.log) }),
  });
  if (service.torn > 0) {
    ui.warn(`${plain(events ?? "")}: an event that was never acknowledged was cut off (${service.torn} bytes)`);
  }
  if (service.exposuresTorn > 0) {
    ui.warn(`${plain(flags.log ?? "")}: a line that has no end was cut off (${service.exposuresTorn} bytes)`);
  }
  const url = await listen(service, flags);
  const stopped = new Promise<void>((done) => {
    if (signal.aborted) done();
    else signal.addEventListener("abort", () => done(), { once: true });
  });
  const loading = service.load();
  loading.catch(() => undefined);
  await Promise.race([loading, stopped]);
  if (signal.aborted) return;
  announce(service, url, apiKey !== undefined, session);
  const reload = (): void => {
    ui.info("Opening the run anew …");
    service.load().then(
      ({ model, hash }) => ui.info(`Serving ${plain(model)} (${hash.slice(0, 12)}) from now on.`),
      (error: unknown) => {
        if (signal.aborted) return;
        ui.error(describeError(error, ui.err, ui.verbose));
        ui.warn("What was served before goes on being served.");
      },
    );
  };
  io.signals.on("SIGHUP", reload);
  try {
    await stopped;
  } finally {
    io.signals.off("SIGHUP", reload);
  }
}

function announce(service: Service, url: string, withKey: boolean, { ui }: Session): void {
  const { served } = service;
  if (served === undefined) return;
  const { model, hash, items, users } = served;
  if (ui.json) {
    const variants = service.variants.length === 0 ? {} : { variants: service.variants };
    ui.result(JSON.stringify({ url, model, hash, items, users, events: service.events, ...variants }));
    return;
  }
  const history = served.popularItems({ k: 2 }).items.map(({ id }) => id);
  const key = withKey ? ' -H "authorization: Bearer $PRISMREC_API_KEY"' : "";
  ui.result(
    [
      `${ui.out.bold(`Serving ${plain(model)}`)} of ${items} items and ${users} users at ${url}`,
      ...(service.variants.length === 0 ? [] : [`  Variants: ${service.variants.join(", ")}`]),
      `  curl ${url}/v1/recommend${key} -H 'content-type: application/json' -d ${shellQuote(JSON.stringify({ history, k: 5 }))}`,
      `  A page to try it: ${url}/   Its verbs: ${url}/openapi.json`,
    ].join("\n"),
  );
}

/** @throws PrismrecError CONFIG_INVALID for rules beside variants */
function servedPaths(run: string, { rules, variants }: ServeFlags, cwd: string): ServedPaths {
  if (rules !== undefined && variants !== undefined) {
    throw new PrismrecError("CONFIG_INVALID", "--rules and --variants do not go together", {
      expected: "one of the two",
      received: "both",
      hint: 'Name the rules of each variant in the variants\' file: {"name": "a", "share": 0.5, "rules": "rules.json"}.',
    });
  }
  const at = (path: string | undefined): string | undefined => (path === undefined ? undefined : resolve(cwd, path));
  return { run, rules: at(rules), variants: at(variants) };
}

async function listen(service: Service, { host, port }: ServeFlags): Promise<string> {
  try {
    return await service.listen({ host, port });
  } catch (error) {
    const code = systemCode(error);
    throw new PrismrecError("IO", `cannot listen on ${host}, port ${port}`, {
      received: error instanceof Error ? error.message : String(error),
      hint:
        code === "EADDRINUSE"
          ? "Another program listens there: give another --port, or 0 for any that is free."
          : "Give an address of this machine as --host, and a --port that you may listen on.",
      cause: error,
    });
  }
}

function settingsOf(flags: ServeFlags): RawServiceSettings {
  const { kMax, bodyMax, concurrency, queueMax } = flags;
  return {
    kMax,
    bodyMax,
    concurrency,
    queueMax,
    timeoutMs: flags.timeout,
    ratePerMinute: flags.rate,
    ...(flags.cors === undefined ? {} : { corsOrigins: flags.cors }),
  };
}

/** The key of the file, or of the environment; spaces around it are not part of it. */
async function apiKeyOf({ apiKeyFile }: ServeFlags, { cwd, env }: Io): Promise<string | undefined> {
  let given = env.PRISMREC_API_KEY;
  if (apiKeyFile !== undefined) {
    const path = resolve(cwd, apiKeyFile);
    given = await readFile(path, "utf8").catch((error: unknown) => {
      throw fromFileError(error, path, "read");
    });
  }
  if (given === undefined) return undefined;
  const key = given.trim();
  if (key !== "") return key;
  throw new PrismrecError("CONFIG_INVALID", "the API key is empty", {
    expected: "a key of one character at least",
    received: apiKeyFile ?? "PRISMREC_API_KEY",
    hint: "Leave it out to serve whoever asks.",
  });
}

function eventsFile(dir: string, given: string | boolean, cwd: string): string | undefined {
  if (given === false) return undefined;
  return typeof given === "string" ? resolve(cwd, given) : join(dir, EVENTS_FILE);
}

/** One process at a time writes a journal. */
async function lockFolder(folder: string, acquire: (dir: string) => Promise<Lock>): Promise<Lock> {
  try {
    await mkdir(folder, { recursive: true });
    return await acquire(folder);
  } catch (error) {
    const failed = fromFileError(error, folder, "write");
    if (failed.code === "RUN_LOCKED") throw failed;
    throw new PrismrecError(failed.code, failed.message, {
      ...(failed.received === undefined ? {} : { received: failed.received }),
      hint: "Name a journal elsewhere with --events FILE, or go without one: --no-events.",
      cause: error,
    });
  }
}

const isLoopback = (host: string): boolean => host === "localhost" || host === "::1" || /^127\./.test(host);

function port(text: string): number {
  const number = fromZero(text);
  if (number <= 65_535) return number;
  throw new InvalidArgumentError("Give a port from 0 to 65535.");
}

function fromZero(text: string): number {
  const number = Number(text);
  if (text.trim() === "" || !Number.isInteger(number) || number < 0) {
    throw new InvalidArgumentError("Give a whole number from 0 on.");
  }
  return number;
}
