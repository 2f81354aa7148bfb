//! The blocks that README.md marks.

/// Commands, how they end, and what they print.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) exit: i32,
    pub(crate) commands: String,
    pub(crate) expected: Vec<String>,
}

/// Finds the marked blocks.
pub(crate) fn find(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = text.lines();
    let mut marked: Option<(String, i32)> = None;
    // A block of text belongs to the commands before it as long as no other code came between.
    let mut open = false;
    while let Some(line) = lines.next() {
        if let Some(mark) = line
            .strip_prefix("<!-- test: ")
            .and_then(|rest| rest.strip_suffix(" -->"))
        {
            let (name, exit) = mark.split_once(", exit ").unwrap_or((mark, "0"));
            marked = Some((name.to_owned(), exit.parse().unwrap()));
        } else if let Some(language) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            match (language, marked.take()) {
                ("sh", Some((name, exit))) => {
                    blocks.push(Block {
                        name,
                        exit,
                        commands: body.join("\n"),
                        expected: Vec::new(),
                    });
                    open = true;
                }
                (_, Some((name, _))) => panic!("the mark `{name}` is not before a sh block"),
                ("text", None) if open => {
                    let block = blocks.last_mut().unwrap();
                    block.expected = body.into_iter().map(str::to_owned).collect();
                    open = false;
                }
                (_, None) => open = false,
            }
        }
    }
    assert_eq!(marked, None, "a mark without a block");
    blocks
}

/// The first expected line that does not come, in its turn.
pub(crate) fn missing<'a>(expected: &'a [String], shown: &str) -> Option<&'a str> {
    let mut rest = shown;
    for line in expected {
        for fragment in line.split('…') {
            match rest.split_once(fragment) {
                Some((_, after)) => rest = after,
                None => return Some(line),
            }
        }
    }
    None
}

#[test]
fn blocks_have_marks_exit_codes_and_expectations() {
    let text = "a\n```sh\nnot marked\n```\n<!-- test: one, exit 3 -->\n```sh\nx\ny\n```\nwords\n```text\nb…c\nd\n```\n\
                ```text\nof nobody\n```\n<!-- test: two -->\n```sh\nz\n```\n";
    let block = |name: &str, exit, commands: &str, expected: &[&str]| Block {
        name: name.to_owned(),
        exit,
        commands: commands.to_owned(),
        expected: expected.iter().map(|line| (*line).to_owned()).collect(),
    };
    assert_eq!(
        find(text),
        [
            block("one", 3, "x\ny", &["b…c", "d"]),
            block("two", 0, "z", &[])
        ]
    );
}

#[test]
fn expectations_hold_in_their_order() {
    let expected = ["a…c".to_owned(), "d".to_owned()];
    assert_eq!(missing(&expected, "x a b c\nd"), None);
    assert_eq!(missing(&expected, "d a b c"), Some("d"));
    assert_eq!(missing(&expected, "a b\nd"), Some("a…c"));
}
