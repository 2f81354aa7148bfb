'use strict';
// What the rules stand for in JavaScript. A name covers all that lies below it: `child_process` covers
// `child_process.exec`. What is global stands below `global`.

const both = (names) => names.flatMap((name) => [`fs.${name}`, `fs.${name}Sync`, `fs.promises.${name}`]);

const NAMES = {
  processes: ['child_process', 'cluster', 'worker_threads', 'global.process.kill', 'global.process.abort', 'global.process.setuid'],
  dynamic_code: [
    'vm', 'module', 'repl', 'inspector', 'v8.deserialize', 'global.eval', 'global.Function', 'global.GeneratorFunction',
    'global.AsyncFunction', 'global.process.binding', 'global.process._linkedBinding', 'global.process.mainModule',
  ],
  native_code: ['global.process.dlopen', 'wasi', 'global.WebAssembly', 'ffi-napi', 'ffi'],
  file_writes: [
    ...both([
      'writeFile', 'appendFile', 'mkdir', 'mkdtemp', 'rename', 'copyFile', 'cp', 'link', 'symlink', 'truncate', 'ftruncate',
      'chmod', 'fchmod', 'lchmod', 'chown', 'fchown', 'lchown', 'utimes', 'futimes', 'lutimes', 'write', 'writev',
    ]),
    'fs.createWriteStream', 'fs.WriteStream',
  ],
  file_removals: both(['rm', 'rmdir', 'unlink']),
};

/** The name among `names` that is `path` or lies above it. */
function covers(names, path) {
  for (let at = path; at; at = at.includes('.') ? at.slice(0, at.lastIndexOf('.')) : '') {
    if (names.has(at)) return at;
  }
  return null;
}

/** The name of a module without `node:`, and of a package without what lies below it. */
const bare = (module) => module.replace(/^node:/, '');
const top = (module) => bare(module).split('/').slice(0, module.startsWith('@') ? 2 : 1).join('/');
/** The path of a module's content: `fs/promises` is `fs.promises`. */
const path = (module) => bare(module).replaceAll('/', '.').replace(/^process$/, 'global.process');

const globals = (names) => new Set(names.flatMap((name) => [name, `global.${name}`]));

/** What is asked for: rules, names, imports. */
class Settings {
  constructor({ rules, forbidden, permitted, imports, named }) {
    this.on = new Set(rules);
    this.rules = new Map(rules.flatMap((rule) => (NAMES[rule] ?? []).map((name) => [name, rule])));
    this.forbidden = globals(forbidden);
    this.permitted = globals(permitted);
    this.imports = imports === null ? null : new Set(imports.map(bare));
    this.named = new Set(named.map(bare));
  }

  /** The rule that objects to a dotted name, and the name it lists. */
  rule(name) {
    if (covers(this.permitted, name)) return null;
    const own = covers(this.forbidden, name);
    if (own) return { rule: 'forbidden', name: own };
    const listed = covers(this.rules, name);
    // Who names a module as one to import means to use it.
    if (!listed || this.named.has(listed)) return null;
    return { rule: this.rules.get(listed), name: listed.replace(/^global\./, '') };
  }

  /** The rule that objects to the import of a module, and the name it lists. */
  module(module) {
    const name = path(module);
    for (const one of this.permitted) if (one === name || one.startsWith(`${name}.`)) return null;
    const found = this.rule(name);
    if (found) return found;
    // A file that lies beside the code is the code's own.
    if (/^\.\.?\//.test(module)) return null;
    if (this.imports === null || this.imports.has(top(module)) || this.imports.has(bare(module))) return null;
    return { rule: 'imports', name: top(module) };
  }

  /** Whether something is objected to directly below a name. */
  hides(name) {
    const listed = [...this.rules.keys(), ...this.forbidden];
    return listed.some((one) => one.startsWith(`${name}.`));
  }
}

module.exports = { Settings, path };
