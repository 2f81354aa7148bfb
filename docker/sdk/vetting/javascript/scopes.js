'use strict';
// Which names JavaScript binds where, and to what.

class Scope {
  constructor(parent, isFunction) {
    this.parent = parent;
    this.isFunction = isFunction;
    this.values = new Map();
  }

  bind(name) {
    if (!this.values.has(name)) this.values.set(name, new Set());
    return this.values.get(name);
  }

  /** What a name may stand for; nothing where it is bound nowhere. */
  find(name) {
    for (let scope = this; scope; scope = scope.parent) {
      if (scope.values.has(name)) return scope.values.get(name);
    }
    return null;
  }

  /** Where `var` binds. */
  get outer() {
    return this.isFunction ? this : this.parent.outer;
  }
}

const isNode = (value) => value !== null && typeof value === 'object' && typeof value.type === 'string';

// What only spells a name, and reads none.
const SPELLINGS = {
  MemberExpression: 'property', Property: 'key', MethodDefinition: 'key', PropertyDefinition: 'key',
  LabeledStatement: 'label', BreakStatement: 'label', ContinueStatement: 'label', ClassDeclaration: 'id',
  ClassExpression: 'id', MetaProperty: 'meta',
};

/** The nodes directly below one that are code. */
function children(node) {
  if (/^(Import|Export)\w*Specifier$|^MetaProperty$/.test(node.type)) return [];
  const found = [];
  for (const key of Object.keys(node)) {
    if (SPELLINGS[node.type] === key && !node.computed) continue;
    const value = node[key];
    if (isNode(value)) found.push(value);
    else if (Array.isArray(value)) found.push(...value.filter(isNode));
  }
  return found;
}

const isFunction = (node) => /Function(Declaration|Expression)$/.test(node.type);

/** Goes through a tree once: every node's scope, and every binding. */
class Collector {
  constructor(tree) {
    this.scopes = new Map();
    this.order = [];
    this.bindings = []; // [scope, pattern, value, how]: `is` the value, or one of its `items`.
    this.functions = new Map(); // of each function its scope and what it returns
    this.imports = [];
    this.targets = new Set(); // names that are bound where they stand
    const waiting = [[tree, new Scope(null, true), null]];
    while (waiting.length > 0) {
      const [node, scope, within] = waiting.pop();
      this.scopes.set(node, scope);
      this.order.push(node);
      for (const next of this.enter(node, scope, within).reverse()) waiting.push(next);
    }
  }

  enter(node, scope, within) {
    if (isFunction(node)) return this.function(node, scope);
    let inner = scope;
    if (/^(Block|For(In|Of)?|Switch)Statement$|^(Catch|Class|StaticBlock)/.test(node.type)) inner = new Scope(scope, false);
    this.plain(node, scope, inner, within);
    return children(node).map((child) => [child, inner, within]);
  }

  function(node, scope) {
    const inner = new Scope(scope, true);
    const known = { scope: inner, node, returns: node.expression ? [node.body] : [] };
    this.functions.set(node, known);
    if (node.id) {
      (node.type === 'FunctionDeclaration' ? scope : inner).bind(node.id.name).add(known);
    }
    for (const parameter of node.params) {
      this.declare(inner, parameter);
      if (parameter.type === 'AssignmentPattern') this.bindings.push([inner, parameter.left, parameter.right, 'is']);
    }
    return [...node.params, node.body].map((child) => [child, inner, known]);
  }

  plain(node, scope, inner, within) {
    if (node.type === 'VariableDeclaration') {
      const place = node.kind === 'var' ? scope.outer : scope;
      for (const one of node.declarations) {
        this.declare(place, one.id);
        if (one.init) this.bindings.push([place, one.id, one.init, 'is']);
      }
    } else if (node.type === 'ForOfStatement') {
      const left = node.left.type === 'VariableDeclaration' ? node.left.declarations[0].id : node.left;
      this.bindings.push([inner, left, node.right, 'items']);
    } else if (node.type === 'AssignmentExpression') {
      if (node.left.type === 'Identifier') this.targets.add(node.left);
      this.bindings.push([scope, node.left, node.right, 'is']);
    } else if (node.type === 'ClassDeclaration' && node.id) {
      scope.bind(node.id.name);
    } else if (node.type === 'CatchClause' && node.param) {
      this.declare(inner, node.param);
    } else if (node.type === 'ReturnStatement' && node.argument && within) {
      within.returns.push(node.argument);
    } else if (node.type === 'PropertyDefinition' && node.value && node.key.name) {
      this.bindings.push([scope, { type: 'MemberExpression', property: node.key }, node.value, 'is']);
    } else if (node.type === 'ImportDeclaration') {
      for (const one of node.specifiers) {
        scope.bind(one.local.name);
        this.imports.push([scope, one.local.name, node.source.value, one.imported?.name ?? one.imported?.value ?? null]);
      }
    }
  }

  /** Binds every name of a pattern. */
  declare(scope, pattern) {
    if (!pattern) return;
    if (pattern.type === 'Identifier') {
      scope.bind(pattern.name);
      this.targets.add(pattern);
    } else if (pattern.type === 'ObjectPattern') {
      for (const one of pattern.properties) this.declare(scope, one.value ?? one.argument);
    } else if (pattern.type === 'ArrayPattern') for (const one of pattern.elements) this.declare(scope, one);
    else this.declare(scope, pattern.left ?? pattern.argument);
  }
}

module.exports = { Collector, isFunction };
