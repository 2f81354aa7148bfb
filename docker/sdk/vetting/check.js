'use strict';
// Looks through pieces of JavaScript for what the settings object to: the same questions and answers as check.py.
// It only parses: nothing of the code runs here.

const acorn = require('/usr/share/nodejs/acorn');
const { Reader } = require('./javascript/reader');
const { Settings } = require('./javascript/rules');

// Findings that are printed; further ones are counted.
const PRINTED = 100;

/** A tree, of the code as a script or else as a module; the error of the one that it looks like. */
function parse(code) {
  const options = {
    ecmaVersion: 'latest', locations: true, allowHashBang: true, allowReturnOutsideFunction: true,
    allowAwaitOutsideFunction: true,
  };
  try {
    return acorn.parse(code, { ...options, sourceType: 'script' });
  } catch (script) {
    try {
      return acorn.parse(code, { ...options, sourceType: 'module', allowReturnOutsideFunction: false });
    } catch (module) {
      throw /import|export/.test(script.message) ? module : script;
    }
  }
}

function check(code, settings) {
  let tree;
  try {
    tree = parse(code);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const found = error.message.replace(/ \(\d+:\d+\)$/, '');
    return [{ line: error.loc.line, column: error.loc.column + 1, rule: 'syntax', found }];
  }
  return new Reader(code, tree, settings).findings();
}

function answer(line) {
  const asked = JSON.parse(line);
  if (asked.language !== 'javascript') return { failed: `\`${asked.language}\` is not checked here` };
  try {
    const findings = check(asked.code, new Settings(asked.settings));
    return { findings: findings.slice(0, PRINTED), more: Math.max(0, findings.length - PRINTED) };
  } catch (error) {
    if (error instanceof RangeError) return { failed: 'it is nested too deeply' };
    throw error;
  }
}

let read = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (text) => {
  const lines = (read + text).split('\n');
  read = lines.pop();
  for (const line of lines) if (line.trim()) process.stdout.write(JSON.stringify(answer(line)) + '\n');
});
