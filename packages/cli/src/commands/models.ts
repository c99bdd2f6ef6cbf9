import { PrismrecError } from "@prismrec/core/errors";
import type { ListedModel } from "@prismrec/llm";
import { type Command, InvalidArgumentError } from "commander";
import { shortPath } from "../format.js";
import type { Io } from "../io.js";
import { withSession } from "../session.js";
import { plain } from "../terminal/style.js";
import { formatTable } from "../terminal/table.js";

export function addModels(program: Command, io: Io): void {
  program
    .command("models")
    .summary("the language models there are, and getting one")
    .description(
      "Lists the language models that prismrec knows and those in the user's folder: size, licence, what each can serve, where it " +
        "lies. With a name it gets that one, with an address any GGUF file, and checks its SHA-256.",
    )
    .argument("[model]", "get this one: a name of the list, hf:USER/REPOSITORY/FILE.gguf#REVISION, or an address")
    .option("--sha256 <hex>", "what the file's SHA-256 must be, where nobody else says it", hexadecimal)
    .option("--check", "compute the SHA-256 of the known models that are here")
    .addHelpText(
      "after",
      `
Examples:
  prismrec models
  prismrec models Qwen2.5-Coder-1.5B-Instruct`,
    )
    .action((named: string | undefined, options: { sha256?: string; check?: boolean }, own: Command) =>
      withSession(io, own, async ({ ui, signal }) => {
        const { downloadModel, fetchModel, KNOWN_MODELS, listModels, modelFolder } = await import("@prismrec/llm");
        const surroundings = { env: io.env, signal, onProgress: ui.progress };
        if (named === undefined) {
          const models = await listModels({ env: io.env, check: options.check === true, signal });
          if (ui.json) ui.resultJson(models);
          else ui.result(`${table(models, io.cwd, ui.width)}\n\nFolder: ${modelFolder(io.env)}`);
          if (models.some(({ checked }) => checked === false)) {
            throw new PrismrecError("MODEL_INVALID", "a model's SHA-256 is not the one that is known", {
              hint: "Remove the file and get it again: prismrec models NAME.",
            });
          }
          return;
        }
        const known = KNOWN_MODELS.find(({ name, file }) => name === named || file === named);
        if (known === undefined && !named.includes(":")) {
          throw new PrismrecError("INVALID_ARGUMENT", `there is no model called ${named}`, {
            expected: `one of ${KNOWN_MODELS.map(({ name }) => name).join(", ")}, or an address`,
            received: named,
          });
        }
        const endpoint = io.env.HF_ENDPOINT;
        const path =
          known === undefined
            ? await downloadModel({
                uri: named,
                dir: modelFolder(io.env),
                ...surroundings,
                ...(endpoint === undefined ? {} : { endpoint }),
                ...(options.sha256 === undefined ? {} : { sha256: options.sha256 }),
              })
            : await fetchModel(known, { ...surroundings, onNotice: (line) => ui.info(line) });
        if (ui.json) ui.resultJson({ path });
        else ui.result(path);
      }),
    );
}

function table(models: readonly ListedModel[], cwd: string, width: number): string {
  const rows = models.map(({ name, bytes, licence, serves, use, path, fault, checked }) => [
    plain(name),
    bytes === undefined ? "" : `${Math.round(bytes / 1e6)} MB`,
    plain(licence ?? ""),
    fault === undefined ? (use ?? serves.join(", ")) : `cannot be used: ${plain(fault)}`,
    path === undefined ? "not here" : plain(shortPath(path, cwd)),
    checked === undefined ? "" : checked ? "✔" : "✖",
  ]);
  const isChecked = models.some(({ checked }) => checked !== undefined);
  return formatTable(
    [
      { title: "model" },
      { title: "size", align: "right" },
      { title: "licence" },
      { title: "serves" },
      { title: "where" },
      { title: isChecked ? "SHA-256" : "" },
    ],
    rows,
    width,
  );
}

function hexadecimal(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return text;
  throw new InvalidArgumentError("Give 64 hexadecimal digits.");
}
