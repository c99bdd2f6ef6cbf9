import { open } from "node:fs/promises";
import { replaceFile } from "./atomic-file.js";
import { PrismrecError } from "./errors.js";

/** Bytes of the header with all before the numbers: room for any shape, and a multiple of 64 as the format asks for. */
const HEADER_BYTES = 128;

/** The header of a matrix in NumPy's format 1.0: little-endian float32, C order. */
export function npyHeader(rows: number, cols: number): Uint8Array {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, ${cols}), }`;
  const header = Buffer.alloc(HEADER_BYTES, " ");
  header.write("\x93NUMPY\x01\x00", 0, "latin1");
  header.writeUInt16LE(HEADER_BYTES - 10, 8);
  header.write(text, 10, "latin1");
  header.write("\n", HEADER_BYTES - 1, "latin1");
  return header;
}

/**
 * Streams the rows of a matrix into a `.npy` file (NumPy Enhancement Proposal 1, format 1.0), which is there whole or not at
 * all.
 *
 * @param rows all as long as the first; without any the matrix is 0 by 0
 * @throws PrismrecError SHAPE_MISMATCH for a row of another length, DISK_FULL, IO; and what the rows reject with
 */
export async function writeNpy(path: string, rows: AsyncIterable<ArrayLike<number>>): Promise<void> {
  await replaceFile(path, async (temporary) => {
    const file = await open(temporary, "wx");
    try {
      // How many rows there are is known at the end.
      let count = 0;
      let cols: number | undefined;
      let at = HEADER_BYTES;
      for await (const row of rows) {
        cols ??= row.length;
        if (row.length !== cols) {
          throw new PrismrecError("SHAPE_MISMATCH", `row ${count} of the matrix has another length`, {
            expected: String(cols),
            received: String(row.length),
          });
        }
        const bytes = Buffer.alloc(4 * cols);
        for (let x = 0; x < cols; x++) bytes.writeFloatLE(row[x]!, 4 * x);
        at += (await file.write(bytes, 0, bytes.length, at)).bytesWritten;
        count++;
      }
      await file.write(npyHeader(count, cols ?? 0), 0, HEADER_BYTES, 0);
      await file.sync();
    } finally {
      await file.close();
    }
  });
}
