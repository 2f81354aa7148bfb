"use strict";

const fs = require("fs");
const { spawn } = require("child_process");
const left = require("./left.js");

let count = 0;

// What one call could find of another.
function look() {
  const processes = fs.readdirSync("/proc").filter((pid) => {
    try {
      return fs.readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("sleep\x00600");
    } catch (error) {
      return false;
    }
  });
  return {
    global: [count, left.value, globalThis.left === undefined],
    file: fs.existsSync("/tmp/left"),
    environment: process.env.LEFT === undefined ? null : process.env.LEFT,
    threads: fs.readdirSync("/proc/self/task").length,
    descriptors: fs.readdirSync("/proc/self/fd").length,
    directory: process.cwd(),
    processes: processes.length,
  };
}

function leave() {
  count += 1;
  left.value += 1;
  globalThis.left = true;
  process.env.LEFT = "left";
  fs.writeFileSync("/tmp/left", "left");
  process.chdir("/tmp");
  fs.openSync("/tmp/left");
  setInterval(() => {}, 1000);
  process.on("exit", () => {
    for (;;);
  });
  spawn("/bin/sh", ["-c", "sleep 600 & sleep 600"], { detached: true, stdio: "ignore" });
}

module.exports.run = async (args) => {
  switch (args.op) {
    case "look":
      return look();
    case "leave": {
      const before = look();
      leave();
      return before;
    }
    case "settings":
      return [process.env.COLOUR, process.cwd(), fs.readFileSync("where.txt", "utf8").trim()];
    case "print":
      console.log("to stdout");
      console.error("to stderr");
      return undefined;
    case "fail":
      throw new TypeError("because");
    case "later":
      setTimeout(() => {
        throw new RangeError("later");
      }, 10);
      return new Promise(() => {});
    case "never":
      return new Promise(() => {});
    case "exit":
      return process.exit(3);
    case "missing":
      return require("no-such-package");
    case "last words":
      console.log("said on stdout");
      console.error("said on stderr");
      for (;;);
    case "spin":
      for (;;);
    case "hoard": {
      const hoard = [];
      for (;;) hoard.push(new Array(100000).fill(hoard.length + 0.5));
    }
    case "buffers": {
      const hoard = [];
      for (;;) hoard.push(Buffer.alloc(1 << 20, 1));
    }
    case "flood":
      for (let n = 0; n < 300; n += 1) {
        process.stdout.write("x".repeat(16384));
        process.stderr.write("y".repeat(16384));
      }
      return args;
    case "raw": {
      const loop = {};
      loop.loop = loop;
      const deep = JSON.parse("[".repeat(300) + "]".repeat(300));
      const values = {
        none: undefined,
        text: "text",
        ok_data: { ok: true, data: 5 },
        ok_error: { ok: false, error: { message: "mine", type: "own" } },
        ok_text: { ok: "yes", data: 1 },
        date: new Date(0),
        nan: { a: [NaN] },
        big: 1n,
        map: new Map(),
        half: "\ud800",
        escaped: "\\ud800 \ud83d\ude00",
        loop,
        deep,
        large: "x".repeat(17 << 20),
      };
      return values[args.kind];
    }
    default:
      return args;
  }
};
