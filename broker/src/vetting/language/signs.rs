//! What lines look like in each language, and how much a look is worth: 5 is found in one language only, 1 is a habit.

use super::Language::{self, Bash, Javascript, Python};

/// One look that a line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    pub language: Language,
    pub weight: u32,
    /// For people.
    pub what: &'static str,
}

const fn sign(language: Language, weight: u32, what: &'static str) -> Sign {
    Sign {
        language,
        weight,
        what,
    }
}

/// How a line begins, and what that says.
const BEGINNINGS: &[(&str, Sign)] = &[
    ("async def ", sign(Python, 5, "`async def`")),
    ("elif ", sign(Python, 3, "`elif`")),
    ("except ", sign(Python, 4, "`except`")),
    ("except:", sign(Python, 5, "`except:`")),
    ("raise ", sign(Python, 3, "`raise`")),
    ("assert ", sign(Python, 2, "`assert`")),
    ("print(", sign(Python, 3, "`print(`")),
    ("yield from ", sign(Python, 5, "`yield from`")),
    ("global ", sign(Python, 3, "`global`")),
    ("nonlocal ", sign(Python, 5, "`nonlocal`")),
    ("with open(", sign(Python, 5, "`with open(`")),
    ("const ", sign(Javascript, 5, "`const`")),
    ("var ", sign(Javascript, 4, "`var`")),
    ("export default ", sign(Javascript, 5, "`export default`")),
    ("export const ", sign(Javascript, 5, "`export const`")),
    ("export function ", sign(Javascript, 5, "`export function`")),
    ("export class ", sign(Javascript, 5, "`export class`")),
    ("export async ", sign(Javascript, 5, "`export async`")),
    ("export {", sign(Javascript, 5, "`export {`")),
    ("async function ", sign(Javascript, 5, "`async function`")),
    ("module.exports", sign(Javascript, 5, "`module.exports`")),
    ("exports.", sign(Javascript, 4, "`exports.`")),
    ("console.", sign(Javascript, 5, "`console.`")),
    ("throw ", sign(Javascript, 4, "`throw`")),
    ("//", sign(Javascript, 3, "a comment that begins with `//`")),
    ("/*", sign(Javascript, 3, "a comment that begins with `/*`")),
    ("} else", sign(Javascript, 4, "`} else`")),
    ("} catch", sign(Javascript, 5, "`} catch`")),
    ("} finally", sign(Javascript, 5, "`} finally`")),
    ("switch (", sign(Javascript, 4, "`switch (`")),
    ("try {", sign(Javascript, 5, "`try {`")),
    ("});", sign(Javascript, 4, "`});`")),
    ("})(", sign(Javascript, 4, "`})(`")),
    ("echo ", sign(Bash, 4, "`echo`")),
    ("printf ", sign(Bash, 3, "`printf`")),
    ("local ", sign(Bash, 4, "`local`")),
    ("declare ", sign(Bash, 4, "`declare`")),
    ("readonly ", sign(Bash, 4, "`readonly`")),
    ("unset ", sign(Bash, 4, "`unset`")),
    ("set -", sign(Bash, 5, "`set -`")),
    ("source ", sign(Bash, 4, "`source`")),
    (". ", sign(Bash, 3, "`.` as a command")),
    ("if [ ", sign(Bash, 5, "`if [`")),
    ("if [[ ", sign(Bash, 5, "`if [[`")),
    ("elif [", sign(Bash, 5, "`elif [`")),
    ("while [ ", sign(Bash, 5, "`while [`")),
    ("while [[ ", sign(Bash, 5, "`while [[`")),
    ("while read", sign(Bash, 5, "`while read`")),
    ("until [", sign(Bash, 5, "`until [`")),
    ("for ((", sign(Bash, 4, "`for ((`")),
    ("[[ ", sign(Bash, 4, "`[[`")),
    ("[ ", sign(Bash, 2, "`[` as a command")),
    ("trap ", sign(Bash, 4, "`trap`")),
    ("read -", sign(Bash, 4, "`read -`")),
    ("exit ", sign(Bash, 3, "`exit` as a command")),
];

/// What may stand anywhere in a line.
const PARTS: &[(&str, Sign)] = &[
    (" for ", sign(Python, 1, "`for` inside a line")),
    ("lambda ", sign(Python, 2, "`lambda`")),
    ("self.", sign(Python, 2, "`self.`")),
    (" not in ", sign(Python, 3, "`not in`")),
    (" is not ", sign(Python, 3, "`is not`")),
    (" is None", sign(Python, 4, "`is None`")),
    ("None", sign(Python, 2, "`None`")),
    ("True", sign(Python, 2, "`True`")),
    ("False", sign(Python, 2, "`False`")),
    (" and ", sign(Python, 1, "`and`")),
    (" or ", sign(Python, 1, "`or`")),
    ("len(", sign(Python, 1, "`len(`")),
    ("range(", sign(Python, 2, "`range(`")),
    ("print(", sign(Python, 2, "`print(`")),
    ("__name__", sign(Python, 5, "`__name__`")),
    ("\"\"\"", sign(Python, 4, "a string in three quotes")),
    ("=>", sign(Javascript, 4, "`=>`")),
    ("===", sign(Javascript, 4, "`===`")),
    ("!==", sign(Javascript, 4, "`!==`")),
    ("console.", sign(Javascript, 4, "`console.`")),
    ("require(", sign(Javascript, 4, "`require(`")),
    ("function(", sign(Javascript, 4, "`function(`")),
    ("function (", sign(Javascript, 4, "`function (`")),
    ("async (", sign(Javascript, 4, "`async (`")),
    ("new Promise", sign(Javascript, 5, "`new Promise`")),
    ("new ", sign(Javascript, 1, "`new`")),
    ("typeof ", sign(Javascript, 4, "`typeof`")),
    ("undefined", sign(Javascript, 3, "`undefined`")),
    ("null", sign(Javascript, 1, "`null`")),
    ("JSON.", sign(Javascript, 4, "`JSON.`")),
    ("Math.", sign(Javascript, 3, "`Math.`")),
    ("process.", sign(Javascript, 2, "`process.`")),
    ("document.", sign(Javascript, 2, "`document.`")),
    ("++", sign(Javascript, 2, "`++`")),
    ("?.", sign(Javascript, 3, "`?.`")),
    ("``", sign(Javascript, 1, "a template")),
    (";;", sign(Bash, 5, "`;;`")),
    ("; then", sign(Bash, 5, "`; then`")),
    ("; do", sign(Bash, 5, "`; do`")),
    (";do ", sign(Bash, 5, "`;do`")),
    ("; fi", sign(Bash, 5, "`; fi`")),
    ("; done", sign(Bash, 5, "`; done`")),
    ("2>&1", sign(Bash, 5, "`2>&1`")),
    (">&2", sign(Bash, 5, "`>&2`")),
    ("/dev/null", sign(Bash, 3, "`/dev/null`")),
    ("<<<", sign(Bash, 3, "`<<<`")),
    (" && ", sign(Bash, 1, "`&&`")),
];

/// Lines that are nothing else.
const WHOLE: &[(&str, Sign)] = &[
    ("pass", sign(Python, 4, "`pass`")),
    ("else:", sign(Python, 5, "`else:`")),
    ("try:", sign(Python, 5, "`try:`")),
    ("finally:", sign(Python, 5, "`finally:`")),
    ("fi", sign(Bash, 5, "`fi`")),
    ("done", sign(Bash, 5, "`done`")),
    ("esac", sign(Bash, 5, "`esac`")),
    ("then", sign(Bash, 5, "`then`")),
    ("do", sign(Bash, 5, "`do`")),
];

/// Programs that begin a line of the shell's, followed by a space and something that is no operator, or by nothing.
const COMMANDS: &[&str] = &[
    "awk", "basename", "cat", "cd", "chmod", "chown", "cp", "curl", "cut", "date", "df", "du",
    "env", "find", "git", "grep", "head", "hostname", "id", "kill", "ln", "ls", "make", "mkdir",
    "mktemp", "mv", "node", "npm", "pip", "ps", "pwd", "python", "python3", "rm", "rmdir", "sed",
    "seq", "sh", "bash", "sleep", "sort", "sudo", "tail", "tar", "tee", "test", "time", "touch",
    "tr", "uname", "uniq", "wc", "wget", "whoami", "xargs", "yes",
];

/// Every look that the line has. `line` is all of it, `bare` is without strings and comments.
pub fn of(line: &str, bare: &str) -> Vec<Sign> {
    let mut found = Vec::new();
    let mut add = |one: Sign| found.push(one);
    for (beginning, one) in BEGINNINGS {
        // A comment is gone from the bare line, and its beginning is a sign.
        if bare.starts_with(beginning) || (*beginning == "//" && line.starts_with("//")) {
            add(*one);
        }
    }
    for (part, one) in PARTS {
        // The quotes of a document string are kept, its content is not.
        if bare.contains(part) {
            add(*one);
        }
    }
    for (whole, one) in WHOLE {
        if bare == *whole {
            add(*one);
        }
    }
    python(bare).into_iter().for_each(&mut add);
    javascript(bare).into_iter().for_each(&mut add);
    bash(line, bare).into_iter().for_each(&mut add);
    found
}

fn python(bare: &str) -> Option<Sign> {
    let block = bare.ends_with(':') && !bare.contains('{') && !bare.starts_with("case ");
    let opens = |word: &str| bare.starts_with(word);
    if block && opens("def ") {
        return Some(sign(Python, 5, "`def …:`"));
    }
    if block && opens("class ") {
        return Some(sign(Python, 5, "`class …:`"));
    }
    let openers = [
        "if ", "for ", "while ", "with ", "elif ", "match ", "async ",
    ];
    if block && openers.iter().any(|word| opens(word)) {
        return Some(sign(Python, 4, "a block that begins with `:`"));
    }
    // `for x in y: print(x)` on one line.
    let inline = ["if ", "for ", "while ", "with ", "def "];
    if inline.iter().any(|word| opens(word)) && bare.contains("): ") {
        return Some(sign(Python, 4, "a block that begins with `:`"));
    }
    if opens("from ") && bare.contains(" import ") {
        return Some(sign(Python, 5, "`from … import`"));
    }
    let modules = bare.strip_prefix("import ")?;
    let modules = modules.split(';').next().unwrap_or_default();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ',' | ' ');
    let names = modules.chars().all(plain) && !modules.contains(" from ");
    names.then_some(sign(Python, 5, "`import` of a bare name"))
}

fn javascript(bare: &str) -> Vec<Sign> {
    let mut found = Vec::new();
    if bare.starts_with("let ") && bare.contains(" = ") || bare.starts_with("let {") {
        found.push(sign(Javascript, 4, "`let`"));
    }
    let quoted = bare.ends_with("\"\"") || bare.ends_with("''");
    let import = bare.trim_end_matches(';').trim_end();
    if import.starts_with("import ")
        && (bare.contains(" from ") || quoted || import.ends_with(['"', '\'']))
    {
        found.push(sign(Javascript, 5, "`import … from`"));
    }
    let heads = ["if (", "for (", "while (", "} else if ("];
    let headed = heads.iter().any(|head| bare.starts_with(head)) && !bare.starts_with("for ((");
    if headed && (bare.ends_with('{') || bare.ends_with(';') || bare.ends_with('}')) {
        found.push(sign(Javascript, 4, "a condition in brackets before `{`"));
    }
    if bare.starts_with("class ") && bare.ends_with('{') {
        found.push(sign(Javascript, 5, "`class … {`"));
    }
    let named = bare.starts_with("function ") && bare.contains('(');
    if named && !bare.contains("()") {
        found.push(sign(Javascript, 4, "`function` with parameters"));
    } else if named {
        found.push(sign(Javascript, 2, "`function`"));
    }
    if bare.ends_with(';') && !bare.ends_with(";;") {
        found.push(sign(Javascript, 1, "a line that ends in `;`"));
    }
    found
}

fn bash(line: &str, bare: &str) -> Vec<Sign> {
    let mut found = Vec::new();
    let word = bare.split([' ', ';', '|']).next().unwrap_or_default();
    let after = bare.get(word.len()..).unwrap_or_default().trim_start();
    let operator = ["=", "+", "-=", "(", ".", ",", ":", "* ", "/ ", "< ", "in "];
    let operated = operator.iter().any(|operator| after.starts_with(operator));
    if COMMANDS.contains(&word) && !operated {
        found.push(sign(Bash, 3, "a command of the shell"));
    }
    if line.contains("\"$") || line.contains(" $") || line.contains("=$") || line.contains("/$") {
        found.push(sign(Bash, 3, "`$` before a variable"));
    }
    if line.contains("$(") && !line.contains("$('") && !line.contains("$(\"") {
        found.push(sign(Bash, 2, "`$(`"));
    }
    let function = bare.trim_end_matches('{').trim_end();
    if let Some(name) = function.strip_suffix("()")
        && !name.is_empty()
        && bare.len() > function.len()
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || "_-".contains(c))
    {
        found.push(sign(Bash, 4, "`name() {`"));
    }
    let assigned = bare.strip_prefix("export ");
    if let Some((name, value)) = assigned.unwrap_or(bare).split_once('=') {
        let named = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let tight = named && !value.starts_with([' ', '=']);
        if tight && assigned.is_some() {
            found.push(sign(Bash, 5, "`export NAME=`"));
        } else if tight && !bare.ends_with([';', ',']) && !calls(bare) {
            found.push(sign(Bash, 1, "`NAME=` without spaces"));
        }
    }
    if (bare.starts_with("for ") || bare.starts_with("case ")) && bare.ends_with(" in") {
        found.push(sign(Bash, 4, "`in` at a line's end"));
    }
    found
}

/// Whether something is called as no shell calls it: a name and its arguments in parentheses.
fn calls(line: &str) -> bool {
    line.split('(')
        .zip(line.split('(').skip(1))
        .any(|(before, _)| before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}
