// The JavaScript runner: loads a tool's file, says so, waits for one call, and answers it.
//
// Started as `node runner.js ENTRY` by the guest's spare, once for each call and before the call
// comes. Descriptor 3 leads to the spare. Over it go lines: `ready`, or `broken ERROR`; then the
// arguments come as JSON, and `result RESULT` is said once. docs/spare-protocol.md has the rest.
"use strict";

const fs = require("fs");
const path = require("path");
const { pathToFileURL } = require("url");

const CHANNEL = 3;
const MESSAGE_LIMIT = 16 * 1024;
const RESULT_LIMIT = 16 * 1024 * 1024;
// A lone half of a surrogate pair, as JSON.stringify writes it: UTF-8 cannot hold it.
const HALF_PAIR = /(?:^|[^\\])(?:\\\\)*\\ud[89a-f]/i;

// Bound once, so that nothing a tool does to these reaches the answer.
const { readSync, writeSync } = fs;
const { stringify, parse } = JSON;
const { isFinite } = Number;
const { exit } = process;

function say(word, text) {
  const line = Buffer.from(text === undefined ? `${word}\n` : `${word} ${text}\n`, "utf8");
  for (let sent = 0; sent < line.length; ) {
    sent += writeSync(CHANNEL, line, sent);
  }
}

function hear() {
  const parts = [];
  for (;;) {
    const buffer = Buffer.allocUnsafe(65536);
    const count = readSync(CHANNEL, buffer);
    if (count === 0) exit(0); // The spare is gone.
    const part = buffer.subarray(0, count);
    parts.push(part);
    if (part[count - 1] === 10) return Buffer.concat(parts).toString("utf8");
  }
}

function describe(error) {
  let kind = typeof error;
  let message;
  try {
    if (error instanceof Error) {
      kind = String(error.name || error.constructor.name);
      message = String(error.message) || kind;
      if (error.code === "MODULE_NOT_FOUND" || error.code === "ERR_MODULE_NOT_FOUND") {
        message = message.split("\n")[0];
        message += " (if it is a package, put it into the pack's node_modules and bring the pack up again)";
      }
    } else {
      message = String(error);
    }
  } catch (second) {
    message = "(its message cannot be shown)";
  }
  return { message: message.slice(0, MESSAGE_LIMIT), type: kind };
}

class Unserializable extends Error {
  constructor(message, kind = "unserializable") {
    super(message);
    this.name = kind;
  }
}

// What JSON would bend into shape without a word.
function check(key, value) {
  if (typeof value === "number" && !isFinite(value)) {
    throw new Unserializable(`the result cannot be written as JSON: it holds ${value}`);
  }
  if (value instanceof Map || value instanceof Set) {
    throw new Unserializable(`the result cannot be written as JSON: it holds a ${value.constructor.name}`);
  }
  return value;
}

function encode(value) {
  const formed =
    value !== null &&
    typeof value === "object" &&
    typeof value.ok === "boolean" &&
    ("data" in value || "error" in value);
  let text;
  try {
    text = stringify(formed ? value : { ok: true, data: value === undefined ? null : value }, check);
  } catch (error) {
    if (error instanceof Unserializable) throw error;
    throw new Unserializable(`the result cannot be written as JSON: ${describe(error).message.split("\n")[0]}`);
  }
  if (text.length > RESULT_LIMIT) {
    throw new Unserializable("the result is larger than 16 MiB, the most that can be passed on", "result_too_large");
  }
  if (HALF_PAIR.test(text)) {
    throw new Unserializable("a text of the result holds half of a surrogate pair, which UTF-8 cannot hold");
  }
  return text;
}

let done = false;

/** The last word. No timer, promise or handler of the tool runs behind it. */
function finish(word, text) {
  if (done) return;
  done = true;
  try {
    say(word, text);
    // The broker ends this process; whatever the tool left for its end must not run before.
    while (readSync(CHANNEL, Buffer.alloc(1)) > 0);
  } finally {
    process.kill(process.pid, "SIGKILL");
  }
}

function fail(word, error) {
  try {
    const shown = error instanceof Error && error.stack ? error.stack : String(error);
    writeSync(2, `${shown}\n`);
  } catch (second) {
    // Its stack is the tool's code, and descriptor 2 may be closed.
  }
  const described = stringify(describe(error));
  finish(word, word === "broken" ? described : `{"ok":false,"error":${described}}`);
}

async function load(entry) {
  let module;
  if (entry.endsWith(".mjs")) {
    module = await import(pathToFileURL(entry));
  } else {
    module = require(entry);
  }
  const run = module.run || (module.default && module.default.run);
  if (typeof run !== "function") {
    throw new TypeError(`\`${entry}\` exports no function \`run(args)\``);
  }
  return run;
}

async function main() {
  // Node.js would keep for later what a pipe does not take at once, and there is no later. The spare
  // always reads on.
  for (const { _handle: handle } of [process.stdout, process.stderr]) {
    if (handle && handle.setBlocking) handle.setBlocking(true);
  }
  const entry = path.resolve(process.argv[2]);
  process.argv.splice(1, 2, entry);
  let word = "broken";
  process.on("uncaughtException", (error) => fail(word, error));
  process.on("beforeExit", () => {
    fail(word, new Error("nothing is left to run, and `run` has not answered: its promise will never be settled"));
  });
  let run;
  try {
    run = await load(entry);
  } catch (error) {
    fail(word, error);
  }
  say("ready");
  const args = parse(hear());
  word = "result";
  try {
    finish(word, encode(await run(args)));
  } catch (error) {
    fail(word, error);
  }
}

main();
