'use strict';

const { Origins, REQUIRES } = require('./origins');
const { path } = require('./rules');

const TIMERS = /^global\.set(Timeout|Interval|Immediate)$/;
// Ways into the interpreter that code has no other use for.
const INNARDS = new Set(['__proto__', '__defineGetter__', '__lookupGetter__']);

// Characters of what was found that are told.
const LONGEST = 250;

/** Goes through a tree and collects findings, one a place. */
class Reader {
  constructor(code, tree, settings) {
    this.code = code;
    this.settings = settings;
    this.found = new Map();
    this.origins = new Origins(tree);
    for (const node of this.origins.code.order) this[node.type]?.(node);
  }

  findings() {
    return [...this.found.values()].sort((a, b) => a.line - b.line || a.column - b.column);
  }

  find(node, rule, found, name, module = false) {
    const { line, column } = node.loc.start;
    // Columns count characters, and not the halves that some are made of.
    const before = this.code.slice(node.start - column, node.start);
    const place = `${line}:${column}`;
    if (this.found.has(place)) return;
    const finding = { line, column: [...before].length + 1, rule, found: found.slice(0, LONGEST) };
    if (name) finding.name = name.slice(0, LONGEST);
    if (module) finding.import = true;
    this.found.set(place, finding);
  }

  /** A name or a property that is read, whatever becomes of it. */
  refer(node) {
    for (const origin of this.origins.of(node)) {
      // A module was found where it was required.
      if (typeof origin !== 'string' || (node.type === 'Identifier' && !origin.includes('.'))) continue;
      const found = this.settings.rule(origin);
      if (!found) continue;
      const plain = origin.replace(/^global\./, '');
      const written = this.code.slice(node.start, node.end);
      const short = written.length <= 60 && !written.includes('\n') ? written : plain;
      this.find(node, found.rule, short === plain ? `\`${short}\`` : `\`${short}\`, which is \`${plain}\``, found.name);
      return;
    }
  }

  Identifier(node) {
    if (!this.origins.code.targets.has(node)) this.refer(node);
  }

  MemberExpression(node) {
    if (!node.computed && INNARDS.has(node.property.name) && this.settings.on.has('dynamic_code')) {
      this.find(node, 'dynamic_code', `\`${node.property.name}\`, which leads into the interpreter`, node.property.name);
    }
    this.refer(node);
    if (!node.computed || this.origins.texts(node.property).length > 0 || !this.settings.on.has('dynamic_code')) return;
    for (const origin of this.origins.of(node.object)) {
      if (typeof origin === 'string' && this.settings.hides(origin)) {
        const plain = origin.replace(/^global\./, '');
        this.find(node, 'dynamic_code', `a property of \`${plain}\` whose name is only known when it runs`);
      }
    }
  }

  ImportDeclaration(node) {
    this.module(node.source, node.source.value);
    for (const one of node.specifiers) {
      const name = one.imported?.name ?? one.imported?.value;
      const found = name && this.settings.rule(`${path(node.source.value)}.${name}`);
      if (found) this.find(one, found.rule, `\`${name}\` of \`${node.source.value}\``, found.name);
    }
  }

  ExportNamedDeclaration(node) {
    if (node.source) this.module(node.source, node.source.value);
  }

  ExportAllDeclaration(node) {
    this.module(node.source, node.source.value);
  }

  ImportExpression(node) {
    this.loaded(node, node.source, 'import');
  }

  module(node, module) {
    const found = this.settings.module(module);
    if (found) this.find(node, found.rule, `import of \`${module}\``, found.name, found.rule !== 'forbidden');
  }

  /** A module that is named by an expression. */
  loaded(node, source, how) {
    const names = source ? this.origins.texts(source) : [];
    for (const name of names) this.module(node, name);
    if (names.length === 0 && this.settings.on.has('dynamic_code') && !this.settings.permitted.has(how)) {
      this.find(node, 'dynamic_code', `\`${how}\` of a module whose name is only known when it runs`, how);
    }
  }

  NewExpression(node) {
    this.CallExpression(node);
  }

  CallExpression(node) {
    const { callee } = node;
    for (const origin of this.origins.of(callee)) {
      if (typeof origin !== 'string') continue;
      if (REQUIRES.test(origin)) this.loaded(node, node.arguments[0], 'require');
      else if (TIMERS.test(origin)) this.timer(node);
      else if (/^fs\.(promises\.)?open(Sync)?$/.test(origin)) this.opened(node, origin);
    }
    if (callee.type !== 'Identifier' && callee.type !== 'MemberExpression') this.refer(callee);
    // Every function has its maker at hand: `f.constructor('…')`.
    const names = callee.type === 'MemberExpression' ? this.origins.keys(callee) : [];
    if (names.includes('constructor') && node.arguments.length > 0 && this.settings.on.has('dynamic_code')) {
      this.find(node, 'dynamic_code', 'a call of `constructor`, which makes functions of text', 'Function');
    }
  }

  timer(node) {
    const [first] = node.arguments;
    const text = first && (this.origins.texts(first).length > 0 || /^(TemplateLiteral|BinaryExpression)$/.test(first.type));
    if (text && this.settings.on.has('dynamic_code')) this.find(node, 'dynamic_code', 'a timer that runs text');
  }

  /** Whether a file is opened for more than reading. */
  opened(node, name) {
    if (!this.settings.on.has('file_writes') || this.settings.permitted.has(name)) return;
    const flags = node.arguments[1];
    if (!flags || /Function/.test(flags.type)) return;
    const texts = this.origins.texts(flags);
    const writing = texts.find((text) => /[wa+]/.test(text));
    if (writing) this.find(node, 'file_writes', `\`${name}\` for writing (flag \`${writing}\`)`, name);
    else if (texts.length === 0 && ![...this.origins.of(flags)].includes('fs.constants.O_RDONLY')) {
      this.find(node, 'file_writes', `\`${name}\` with flags that are only known when it runs`, name);
    }
  }
}

module.exports = { Reader };
