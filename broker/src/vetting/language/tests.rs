use super::*;

fn guess(code: &str) -> Option<Language> {
    by_looks(code).map(|detected| detected.language)
}

#[test]
fn the_first_line_decides_before_anything_else() {
    let cases = [
        (
            "#!/usr/bin/env python3\nconst x = 1;",
            Language::Python,
            "python3",
        ),
        ("#!/usr/bin/python3.11 -I\n", Language::Python, "python3.11"),
        (
            "#!/usr/bin/env -S node --trace\nimport os",
            Language::Javascript,
            "node",
        ),
        (
            "#!/usr/bin/env -i A=1 bash\nprint(1)",
            Language::Bash,
            "bash",
        ),
        ("#! /bin/sh\ndef f():\n    pass", Language::Bash, "sh"),
        ("#!/usr/bin/nodejs\r\nls", Language::Javascript, "nodejs"),
    ];
    for (code, language, program) in cases {
        let detected = detect(code, Some("a.txt"), Language::Python);
        let because = Because::Shebang(program.to_owned());
        assert_eq!(detected, Detected { language, because }, "{code}");
    }
    // Of an interpreter that is none of the three, the rest is looked at.
    let perl = detect("#!/usr/bin/perl\nconsole.log(1)", None, Language::Bash);
    assert_eq!(perl.language, Language::Javascript);
    assert_eq!(
        perl.because,
        Because::Line {
            number: 2,
            sign: "`console.`"
        }
    );
}

#[test]
fn the_name_decides_where_the_first_line_says_nothing() {
    for (name, language) in [
        ("run.py", Language::Python),
        ("/srv/x/Run.MJS", Language::Javascript),
        ("a.b.sh", Language::Bash),
    ] {
        let detected = detect("echo hi", Some(name), Language::Python);
        assert_eq!(detected.language, language, "{name}");
    }
    for name in [".py", "py", "notes.txt", "", "-", "x.py/"] {
        let detected = detect("echo hi", Some(name), Language::Python);
        assert_eq!(detected.language, Language::Bash, "{name}");
    }
}

#[test]
fn short_code_is_recognised_by_its_looks() {
    let cases = [
        ("print('hello')", Language::Python),
        ("import os, sys as s", Language::Python),
        ("import os; print(os.getcwd())", Language::Python),
        (
            "from json import loads\nprint(loads('1'))",
            Language::Python,
        ),
        ("x = [n * n for n in range(10)]\nprint(x)", Language::Python),
        ("def f(a):\n    return a\nprint(f(1))", Language::Python),
        ("class A:\n    pass", Language::Python),
        ("for i in range(3): print(i)", Language::Python),
        (
            "with open('x') as f:\n    data = f.read()",
            Language::Python,
        ),
        (
            "try:\n    x = 1\nexcept ValueError as e:\n    raise",
            Language::Python,
        ),
        ("async def main():\n    await sleep(1)", Language::Python),
        (
            "import pandas as pd\ndf = pd.DataFrame({'a': [1]})\nprint(df)",
            Language::Python,
        ),
        (
            "x = 5\ny = None\nprint(x if y is None else y)",
            Language::Python,
        ),
        (
            "\"\"\"const x = 1;\nconsole.log(x);\n\"\"\"\nprint(1)",
            Language::Python,
        ),
        (
            "# echo hello; fi\n# done\nx = len([1])\nprint(x)",
            Language::Python,
        ),
        (
            "print(\"console.log(1); const a = () => 2;\")",
            Language::Python,
        ),
        ("console.log('hello')", Language::Javascript),
        ("const x = 1", Language::Javascript),
        ("let x = 1;\nx += 2;\nconsole.log(x);", Language::Javascript),
        ("import fs from 'fs'\n", Language::Javascript),
        ("import 'fs'", Language::Javascript),
        (
            "const {readFileSync} = require('fs');",
            Language::Javascript,
        ),
        ("[1, 2].map(x => x * 2)", Language::Javascript),
        (
            "module.exports.run = async (args) => args",
            Language::Javascript,
        ),
        (
            "function add(a, b) {\n  return a + b;\n}\nadd(1, 2);",
            Language::Javascript,
        ),
        (
            "if (x) {\n  y();\n} else {\n  z();\n}",
            Language::Javascript,
        ),
        (
            "for (let i = 0; i < 3; i++) {\n  console.log(i);\n}",
            Language::Javascript,
        ),
        (
            "class A extends B {\n  run() {\n  }\n}",
            Language::Javascript,
        ),
        (
            "// print('x')\n/* import os\nfrom x import y */\nlet a = 1;",
            Language::Javascript,
        ),
        (
            "const t = `\nimport os\ndef f():\n  pass\n`;\nconsole.log(t)",
            Language::Javascript,
        ),
        (
            "await fetch('https://example.com')\n  .then(r => r.text())",
            Language::Javascript,
        ),
        ("throw new Error('no')", Language::Javascript),
        ("total=sum(range(4))\nprint(total)", Language::Python),
        ("echo hello", Language::Bash),
        ("ls -la", Language::Bash),
        ("ls", Language::Bash),
        ("pwd; whoami", Language::Bash),
        ("set -euo pipefail\nx=1\necho \"$x\"", Language::Bash),
        ("for f in *.txt; do\n  wc -l \"$f\"\ndone", Language::Bash),
        ("if [ -f x ]; then\n  cat x\nfi", Language::Bash),
        ("export A=1\nenv | sort", Language::Bash),
        ("greet() {\n  echo \"hi $1\"\n}\ngreet you", Language::Bash),
        (
            "cat <<EOF\nimport os\nconst x = 1;\nprint(1)\nEOF",
            Language::Bash,
        ),
        (
            "cat << 'END' > out.py\ndef f():\n    pass\nEND\npython3 out.py",
            Language::Bash,
        ),
        ("case $1 in\n  a) echo 1 ;;\nesac", Language::Bash),
        ("curl -s https://example.com | grep title", Language::Bash),
        (
            "total=0\nwhile read -r n; do total=$((total + n)); done\necho $total",
            Language::Bash,
        ),
        ("mkdir -p a/b && cd a/b", Language::Bash),
    ];
    for (code, language) in cases {
        assert_eq!(guess(code), Some(language), "{code}\n{:?}", by_looks(code));
    }
}

#[test]
fn what_says_nothing_is_the_default_and_says_so() {
    for code in [
        "",
        "\n\n",
        "1 + 1",
        "x",
        "{}",
        "\u{feff}",
        "# only a comment",
        "§ßø",
        "\0\0",
        // No shell assigns so.
        "x=1; open(\"a\", \"w\").write(\"b\")",
    ] {
        for default in Language::ALL {
            let detected = detect(code, None, default);
            assert_eq!(detected.language, default, "{code:?}");
            assert_eq!(detected.because, Because::Default, "{code:?}");
        }
    }
    let shown = detect("", None, Language::Bash).to_string();
    assert_eq!(shown, "bash (nothing in it tells, and this is the default)");
    let shown = detect("x = 1\nprint(x)", None, Language::Bash).to_string();
    assert_eq!(shown, "python (line 2 has `print(`)");
}

#[test]
fn names_of_languages_are_read_as_they_are_written() {
    for language in Language::ALL {
        assert_eq!(language.to_string().parse(), Ok(language));
    }
    let error = "Python".parse::<Language>().unwrap_err().to_string();
    assert!(
        error.contains("`Python`") && error.contains("remedy"),
        "{error}"
    );
}
