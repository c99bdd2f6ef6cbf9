import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { fromFileError, PrismrecError, systemCode } from "@prismrec/core/base";
import { z } from "zod";

const ownerSchema = z.object({
  token: z.string(),
  pid: z.int().positive(),
  host: z.string(),
  /** The process's own start, where the system tells it: a later process may get the same id. */
  processStart: z.string().optional(),
  since: z.string(),
});
type Owner = z.infer<typeof ownerSchema>;

/** Held while one process writes to a folder; `release` (or `await using`) gives it back. */
export interface Lock extends AsyncDisposable {
  release(): Promise<void>;
}

/**
 * Takes the lock file of a folder. One left by a process that no longer runs on this machine is taken over; one of a
 * running process, or of another machine, is RUN_LOCKED.
 */
export async function acquireLock(dir: string): Promise<Lock> {
  const path = join(dir, ".lock");
  const processStart = await startOf(process.pid);
  const owner: Owner = {
    token: randomUUID(),
    pid: process.pid,
    host: hostname(),
    since: new Date().toISOString(),
    ...(processStart === undefined ? {} : { processStart }),
  };
  for (let attempt = 0; attempt < 10; attempt++) {
    if (await create(path, owner)) {
      const release = async (): Promise<void> => {
        if ((await readOwner(path))?.token === owner.token) await rm(path, { force: true });
      };
      return { release, [Symbol.asyncDispose]: release };
    }
    const holder = await readOwner(path);
    if (holder !== undefined && (await mayRun(holder))) throw locked(path, holder);
    await removeStale(path, holder);
  }
  throw locked(path, undefined);
}

/** Links a finished file into place, so that nobody ever reads a lock whose owner has not signed yet. */
async function create(path: string, owner: Owner): Promise<boolean> {
  const signed = `${path}.${owner.token}`;
  try {
    await writeFile(signed, JSON.stringify(owner), { flag: "wx" });
    await link(signed, path);
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw fromFileError(error, path, "write");
  } finally {
    await rm(signed, { force: true });
  }
}

/** undefined: no lock file, or one that is damaged. */
async function readOwner(path: string): Promise<Owner | undefined> {
  try {
    return ownerSchema.safeParse(JSON.parse(await readFile(path, "utf8"))).data;
  } catch (error) {
    if (error instanceof SyntaxError || systemCode(error) === "ENOENT") return undefined;
    throw fromFileError(error, path, "read");
  }
}

async function mayRun(owner: Owner): Promise<boolean> {
  if (owner.host !== hostname()) return true;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if (systemCode(error) === "ESRCH") return false;
  }
  const start = await startOf(owner.pid);
  return owner.processStart === undefined || start === undefined || start === owner.processStart;
}

/** Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), or undefined where there is none. */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch (error) {
    if (systemCode(error) !== undefined) return undefined;
    throw error;
  }
}

/**
 * Moves the stale file aside before removing it: of several processes that find it only one moves it, and a lock that
 * was taken meanwhile is put back.
 */
async function removeStale(path: string, holder: Owner | undefined): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return;
    throw fromFileError(error, path, "write");
  }
  if ((await readOwner(aside))?.token !== holder?.token) await rename(aside, path);
  else await rm(aside, { force: true });
}

function locked(path: string, holder: Owner | undefined): PrismrecError {
  return new PrismrecError("RUN_LOCKED", "another process is writing to this run", {
    expected: "one writer at a time",
    received: holder === undefined ? path : `process ${holder.pid} on ${holder.host} since ${holder.since}`,
    hint: `Wait for it, or choose another folder; if it is certainly gone, delete ${path}.`,
  });
}
