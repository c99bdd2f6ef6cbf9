import { CONFIG_FILE, type RawSettings } from "../config/load.js";
import { NO_LLM } from "../config/schema.js";
import { shellQuote } from "../format.js";
import { asFlags } from "../options.js";
import { VERSION } from "../version.js";
import { storedSettings } from "./settings-file.js";

/**
 * What a POSIX shell is told to make a run again: this version, its flags with the seed and the language model that was used
 * spelled out; where flags cannot say all of it, its configuration as a file that the text itself writes.
 *
 * @param languageModel the file that interests were read with; undefined: none was
 */
export async function reproduceCommand(
  { path, settingsFile }: { readonly path: string; readonly settingsFile: string },
  { seed, languageModel }: { readonly seed: number; readonly languageModel: string | undefined },
): Promise<string> {
  // Threads change no result, and where the model is named nothing is fetched.
  const { out: _out, threads: _threads, fetchModel: _fetch, ...stored } = await storedSettings(path, settingsFile);
  const settings: RawSettings = { llm: languageModel ?? NO_LLM, ...stored, seed };
  const { flags, complete } = asFlags(settings);
  const lines = [
    `npx prismrec@${VERSION} run`,
    ...(complete ? flags : [["--config", CONFIG_FILE]]).map((parts) => parts.map(shellQuote).join(" ")),
    `--out ${shellQuote(path)}`,
  ];
  const command = lines.join(" \\\n  ");
  // No line of JSON is the word alone, and a quoted word keeps the shell from reading any of them.
  return complete
    ? command
    : `cat > ${CONFIG_FILE} <<'END'\n${JSON.stringify(settings, undefined, 2)}\nEND\n${command}`;
}
