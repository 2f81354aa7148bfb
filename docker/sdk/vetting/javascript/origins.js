'use strict';
// What expressions may stand for, as far as that can be told from reading. An origin is a dotted path (`fs.rm`), a
// `Text`, the `Items` of a list or an object, or a function of the code itself. Where the code cannot be followed there is none.

const { Collector, isFunction } = require('./scopes');
const { path } = require('./rules');

const ROUNDS = 8;
const LONGEST = 120;
const MOST = 24;
const GLOBALS = new Set(['globalThis', 'global', 'self', 'window']);
const REQUIRES = /^(global\.require|module\.createRequire\(\)|global\.module\.require|global\.process\.mainModule\.require)$/;

// One object a text, so that sets know it again.
const texts = new Map();
class Text {
  static of(value) {
    if (!texts.has(value)) texts.set(value, Object.assign(new Text(), { value }));
    return texts.get(value);
  }
}
const lists = new Map();
class Items {
  static of(origin) {
    if (!lists.has(origin)) lists.set(origin, Object.assign(new Items(), { origin }));
    return lists.get(origin);
  }
}

/** The path of a property. */
function joined(base, name) {
  if (base.length > LONGEST) return null;
  if (base === 'global' && GLOBALS.has(name)) return 'global';
  if (name === 'default') return base;
  if (/^(call|apply|bind)$/.test(name)) return base;
  return `${base}.${name}`;
}

class Origins {
  constructor(tree) {
    this.code = new Collector(tree);
    this.properties = new Map();
    this.seen = new Map();
    for (const [scope, name, module, imported] of this.code.imports) {
      const base = path(module);
      scope.bind(name).add(imported === null || imported === 'default' ? base : `${base}.${imported}`);
    }
    const calls = this.code.order.filter((node) => /^(Call|New)Expression$/.test(node.type));
    for (let round = 0; round < ROUNDS; round += 1) {
      this.seen.clear();
      this.changed = false;
      for (const [scope, pattern, value, how] of this.code.bindings) {
        const found = this.of(value);
        this.bind(scope, pattern, how === 'is' ? found : this.items(found), how === 'is' ? value : null);
      }
      for (const call of calls) this.of(call);
      if (!this.changed) break;
    }
    this.seen.clear();
  }

  add(values, found) {
    for (const origin of found) {
      if (!values.has(origin) && values.size < MOST) {
        values.add(origin);
        this.changed = true;
      }
    }
  }

  /** Gives what was found to every name of a pattern. */
  bind(scope, pattern, found, value) {
    if (!pattern) return;
    switch (pattern.type) {
      case 'Identifier': {
        const values = scope.find(pattern.name);
        if (values) this.add(values, found);
        else this.add(scope.outer.bind(pattern.name), found);
        break;
      }
      case 'AssignmentPattern':
        this.bind(scope, pattern.left, new Set([...found, ...this.of(pattern.right)]), null);
        break;
      case 'ObjectPattern':
        for (const one of pattern.properties) {
          if (one.type === 'RestElement') this.bind(scope, one.argument, found, null);
          else this.bind(scope, one.value, this.member(found, this.keys(one)), null);
        }
        break;
      case 'ArrayPattern':
        pattern.elements.forEach((one, index) => {
          const element = value?.type === 'ArrayExpression' ? value.elements[index] : null;
          this.bind(scope, one, element ? this.of(element) : this.items(found), element);
        });
        break;
      case 'MemberExpression': {
        const name = pattern.property.name;
        if (name && !pattern.computed) {
          if (!this.properties.has(name)) this.properties.set(name, new Set());
          this.add(this.properties.get(name), found);
        } else if (pattern.object?.type === 'Identifier') {
          const values = scope.find(pattern.object.name);
          if (values) this.add(values, [...found].filter((one) => !(one instanceof Items)).map(Items.of));
        }
        break;
      }
      default:
    }
  }

  items(found) {
    return new Set([...found].filter((one) => one instanceof Items).map((one) => one.origin));
  }

  /** All that an expression may stand for. */
  of(node) {
    if (!node) return new Set();
    if (!this.seen.has(node)) {
      // Whatever refers to itself finds nothing in this round.
      this.seen.set(node, new Set());
      const found = new Set(isFunction(node) ? [this.code.functions.get(node)] : this[node.type]?.(node) ?? []);
      found.delete(null);
      this.seen.set(node, found);
    }
    return this.seen.get(node);
  }

  texts(node) {
    return [...this.of(node)].filter((one) => one instanceof Text).map((one) => one.value);
  }

  /** The names that a property may have. */
  keys(node) {
    const key = node.property ?? node.key;
    if (!node.computed) return [key.name ?? key.value];
    return this.texts(key);
  }

  /** What lies below under one of these names. */
  member(found, names) {
    const out = new Set(this.items(found));
    for (const name of names) {
      for (const origin of found) if (typeof origin === 'string') out.add(joined(origin, name));
      for (const origin of this.properties.get(name) ?? []) out.add(origin);
    }
    out.delete(null);
    return out;
  }

  Identifier(node) {
    if (GLOBALS.has(node.name)) return ['global'];
    return this.code.scopes.get(node).find(node.name) ?? [`global.${node.name}`];
  }

  Literal(node) {
    return typeof node.value === 'string' && node.value.length <= LONGEST ? [Text.of(node.value)] : [];
  }

  TemplateLiteral(node) {
    let found = [''];
    node.quasis.forEach((part, index) => {
      found = found.map((text) => text + (part.value.cooked ?? ''));
      const inner = node.expressions[index];
      if (inner) found = this.texts(inner).flatMap((after) => found.map((text) => text + after)).slice(0, MOST);
    });
    return found.filter((text) => text.length <= LONGEST).map(Text.of);
  }

  BinaryExpression(node) {
    if (node.operator !== '+') return [];
    const right = this.texts(node.right);
    const found = this.texts(node.left).flatMap((text) => right.map((after) => text + after));
    return found.filter((text) => text.length <= LONGEST).map(Text.of);
  }

  MemberExpression(node) {
    return this.member(this.of(node.object), this.keys(node));
  }

  ChainExpression(node) {
    return this.of(node.expression);
  }

  AwaitExpression(node) {
    return this.of(node.argument);
  }

  ParenthesizedExpression(node) {
    return this.of(node.expression);
  }

  SequenceExpression(node) {
    return this.of(node.expressions.at(-1));
  }

  AssignmentExpression(node) {
    return this.of(node.right);
  }

  ConditionalExpression(node) {
    return [...this.of(node.consequent), ...this.of(node.alternate)];
  }

  LogicalExpression(node) {
    return [...this.of(node.left), ...this.of(node.right)];
  }

  ArrayExpression(node) {
    return node.elements.flatMap((one) => [...this.of(one)]).filter((one) => !(one instanceof Items)).map(Items.of);
  }

  ObjectExpression(node) {
    const found = node.properties.flatMap((one) => [...this.of(one.value ?? one.argument)]);
    return found.map((one) => (one instanceof Items ? one : Items.of(one)));
  }

  ImportExpression(node) {
    return this.texts(node.source).map(path);
  }

  NewExpression(node) {
    return this.CallExpression(node);
  }

  CallExpression(node) {
    const found = new Set();
    for (const callee of this.of(node.callee)) {
      if (typeof callee === 'string') for (const one of this.called(callee, node)) found.add(one);
      else if (callee.returns) {
        callee.node.params.forEach((parameter, index) => {
          const given = node.arguments[index];
          if (given) this.bind(callee.scope, parameter, this.of(given), given);
        });
        for (const value of callee.returns) for (const one of this.of(value)) found.add(one);
      }
    }
    return found;
  }

  /** What a call of something from elsewhere gives back. */
  called(name, node) {
    const [first, second] = node.arguments;
    if (REQUIRES.test(name)) return this.texts(first).map(path);
    if (name === 'global.Reflect.get' || name === 'global.Reflect.apply') {
      return name.endsWith('get') ? this.member(this.of(first), this.texts(second)) : this.of(first);
    }
    if (/^global\.(Object\.(assign|freeze|create)|Promise\.resolve)$/.test(name)) {
      return node.arguments.flatMap((one) => [...this.of(one)]);
    }
    // `import(…).then(m => …)`: the function is given the module.
    const then = /^(.*)\.then$/.exec(name);
    if (then) {
      for (const callee of this.of(first)) {
        if (callee.returns && callee.node.params[0]) this.bind(callee.scope, callee.node.params[0], [then[1]], null);
      }
      return [];
    }
    return name.length < LONGEST ? [`${name}()`] : [];
  }
}

module.exports = { Origins, REQUIRES };
