import { readFile } from "node:fs/promises";

const text = await readFile("/opt/pack/data/where.txt", "utf8");

export async function run(args) {
  return { text: text.trim(), args };
}
