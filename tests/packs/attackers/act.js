"use strict";

const { spawn, spawnSync } = require("child_process");
const fs = require("fs");

const MEBIBYTE = 1 << 20;
const BASH = "/bin/bash";

// No process that is left behind lives longer, walls or not.
const SECONDS = 60;

function fill(path, most) {
  const block = Buffer.alloc(MEBIBYTE, "x");
  let written = 0;
  try {
    const file = fs.openSync(path, "w");
    for (; written < most; written += 1) fs.writeSync(file, block);
  } catch (error) {
    return { achieved: false, mebibytes: written, refused: error.code };
  }
  return { achieved: true, mebibytes: written };
}

function pour(descriptor, mebibytes) {
  const block = Buffer.alloc(MEBIBYTE, "x".repeat(99) + "\n");
  for (let written = 0; written < mebibytes * MEBIBYTE; ) {
    try {
      written += fs.writeSync(descriptor, block);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
  return { achieved: true, mebibytes };
}

// Starts programs until it may not.
async function start(most, script) {
  let refused = null;
  let started = 0;
  while (started < most && refused === null) {
    const child = spawn(BASH, ["-c", script], { detached: true, stdio: "ignore" });
    refused = await new Promise((resolve) => {
      child.on("spawn", () => resolve(null));
      child.on("error", (error) => resolve(error.code));
    });
    started += 1;
  }
  return { achieved: refused === null, processes: started, refused };
}

// Each process but this one and what it may not see.
function others(attempt) {
  const attempts = {};
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) === process.pid) continue;
    try {
      attempt(Number(pid));
      attempts[pid] = "done";
    } catch (error) {
      attempts[pid] = error.code;
    }
  }
  return { achieved: Object.values(attempts).includes("done"), attempts };
}

const misdeeds = {
  fork_bomb: () => start(2000, `sleep ${SECONDS}`),
  // Those that end are not waited for by the one that started them, which has become another program.
  leave_zombies: async () => {
    await start(1, `for n in {1..40}; do sleep 0.2 & done; exec sleep ${SECONDS}`);
    await new Promise((resolve) => setTimeout(resolve, 600));
    return { achieved: true };
  },
  eat_memory: () => {
    for (const hoard of [[]]) for (;;) hoard.push(new Array(100000).fill(hoard.length + 0.5));
  },
  eat_memory_in_buffers: () => {
    for (const hoard of [[]]) for (;;) hoard.push(Buffer.alloc(MEBIBYTE, 1));
  },
  eat_shared_memory: () => {
    new Uint8Array(new SharedArrayBuffer(1024 * MEBIBYTE)).fill(1);
    return { achieved: true };
  },
  fill_tmp: ({ amount = 1024 }) => fill("/tmp/filled", amount),
  fill_shared_memory: ({ amount = 1024 }) => fill("/dev/shm/filled", amount),
  fill_workspace: ({ amount = 1024 }) => {
    const filled = fill("/workspace/filled", amount);
    fs.rmSync("/workspace/filled", { force: true });
    return filled;
  },
  make_many_files: ({ amount = 200000 }) => {
    fs.mkdirSync("/tmp/many");
    let made = 0;
    try {
      for (; made < amount; made += 1) fs.closeSync(fs.openSync(`/tmp/many/${made}`, "w"));
    } catch (error) {
      return { achieved: false, files: made, refused: error.code };
    }
    return { achieved: true, files: made };
  },
  print_much: ({ amount = 4096 }) => pour(1, amount),
  print_errors: ({ amount = 4096 }) => pour(2, amount),
  burn_all_processors: () => {
    const script = "for n in {1..8}; do timeout 1 bash -c 'while :; do :; done' & done; wait";
    spawnSync(BASH, ["-c", script]);
    return { achieved: true };
  },
  ignore_signals: () => {
    for (const name of ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR2", "SIGALRM"]) {
      process.on(name, () => {});
    }
    return new Promise(() => setInterval(() => {}, 1000));
  },
  spin: () => {
    for (;;);
  },
  leave_daemon: () => {
    const script = `trap '' TERM HUP INT; setsid sleep ${SECONDS} & setsid bash -c 'sleep ${SECONDS} & sleep ${SECONDS}' &`;
    spawnSync(BASH, ["-c", script], { stdio: "ignore" });
    return { achieved: true };
  },
  leave_respawners: () => start(8, `SECONDS=0; next() { [ $SECONDS -lt ${SECONDS} ] && { sleep 0.01; next & }; }; next`),
  open_many: ({ amount = 100000 }) => {
    let opened = 0;
    try {
      for (; opened < amount; opened += 1) fs.openSync("/dev/null", "r");
    } catch (error) {
      return { achieved: false, descriptors: opened, refused: error.code };
    }
    return { achieved: true, descriptors: opened };
  },
  dump_core: () => {
    process.chdir("/workspace");
    process.abort();
  },
  kill_parent: () => others((pid) => pid === process.ppid && process.kill(pid, "SIGKILL")),
  kill_everything: () => others((pid) => process.kill(pid, "SIGKILL")),
  write_processes: () => others((pid) => fs.closeSync(fs.openSync(`/proc/${pid}/mem`, "r+"))),
  hang_at_exit: () => {
    process.on("exit", () => {
      for (;;);
    });
    setInterval(() => {}, 1000);
    return { achieved: true };
  },
  return_nothing: () => null,
  return_cycle: () => {
    const cycle = [];
    cycle.push(cycle);
    return cycle;
  },
  return_deep: ({ amount = 5000 }) => {
    let deep = [];
    for (let n = 0; n < amount; n += 1) deep = [deep];
    return deep;
  },
  return_huge: ({ amount = 20 }) => "x".repeat(amount * MEBIBYTE),
  recurse: () => misdeeds.recurse() + 1,
  leave: () => process.exit(3),
  leave_at_once: () => process.reallyExit(0),
  crash: () => process.kill(process.pid, "SIGSEGV") && new Promise(() => setInterval(() => {}, 1000)),
};

module.exports.run = async (args) => misdeeds[args.misdeed](args);
