//! The lines that changed between two texts.

/// One line of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Same(&'a str),
    Removed(&'a str),
    Added(&'a str),
}

/// The table of the comparison grows with both sides; beyond this many cells
/// the differing middle is shown as removed and added whole.
const MOST_CELLS: usize = 4_000_000;

/// Compares line by line; what both have in front and behind costs nothing.
pub(crate) fn lines<'a>(before: &'a str, after: &'a str) -> Vec<Line<'a>> {
    let old: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = after.lines().collect();
    let front = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (head, old) = old.split_at(front);
    let (_, new) = new.split_at(front);
    let back = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (old, tail) = old.split_at(old.len() - back);
    let (new, _) = new.split_at(new.len() - back);
    let mut out: Vec<_> = head.iter().map(|line| Line::Same(line)).collect();
    if old.len().saturating_mul(new.len()) > MOST_CELLS {
        out.extend(old.iter().map(|line| Line::Removed(line)));
        out.extend(new.iter().map(|line| Line::Added(line)));
    } else {
        out.extend(middle(old, new));
    }
    out.extend(tail.iter().map(|line| Line::Same(line)));
    out
}

/// The smallest difference, by longest common subsequence.
fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let common = |left: usize, right: usize, table: &[Vec<u32>]| {
        table
            .get(left)
            .and_then(|row| row.get(right))
            .copied()
            .unwrap_or(0)
    };
    let mut table = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for left in (0..old.len()).rev() {
        for right in (0..new.len()).rev() {
            let length = if old.get(left) == new.get(right) {
                common(left + 1, right + 1, &table) + 1
            } else {
                common(left + 1, right, &table).max(common(left, right + 1, &table))
            };
            if let Some(cell) = table.get_mut(left).and_then(|row| row.get_mut(right)) {
                *cell = length;
            }
        }
    }
    let mut out = Vec::new();
    let (mut left, mut right) = (0, 0);
    loop {
        let removal_first = common(left + 1, right, &table) >= common(left, right + 1, &table);
        match (old.get(left).copied(), new.get(right).copied()) {
            (Some(a), Some(b)) if a == b => {
                out.push(Line::Same(a));
                left += 1;
                right += 1;
            }
            (Some(a), other) if other.is_none() || removal_first => {
                out.push(Line::Removed(a));
                left += 1;
            }
            (_, Some(b)) => {
                out.push(Line::Added(b));
                right += 1;
            }
            (_, None) => return out,
        }
    }
}

/// As `diff -u` marks them, all lines included.
pub(crate) fn marked(lines: &[Line<'_>]) -> Vec<String> {
    lines
        .iter()
        .map(|line| match line {
            Line::Same(text) => format!(" {text}"),
            Line::Removed(text) => format!("-{text}"),
            Line::Added(text) => format!("+{text}"),
        })
        .collect()
}

/// Lines that stay, shown around those that change.
const AROUND: usize = 3;

/// As `diff -u` marks them: what changed with a few lines around it, each place with its heading.
pub(crate) fn unified(lines: &[Line<'_>]) -> Vec<String> {
    let changes = |line: &Line<'_>| !matches!(line, Line::Same(_));
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(first) = (at..lines.len()).find(|at| lines.get(*at).is_some_and(changes)) {
        let start = first.saturating_sub(AROUND).max(at);
        let mut end = first + 1;
        // Places with little between them are one.
        while let Some(next) = (end..lines.len().min(end + 2 * AROUND + 1))
            .find(|at| lines.get(*at).is_some_and(changes))
        {
            end = next + 1;
        }
        end = (end + AROUND).min(lines.len());
        let place = lines.get(start..end).unwrap_or_default();
        let before = lines.get(..start).unwrap_or_default();
        out.push(heading(before, place));
        out.extend(marked(place));
        at = end;
    }
    out
}

fn heading(before: &[Line<'_>], place: &[Line<'_>]) -> String {
    let old = |lines: &[Line<'_>]| {
        lines
            .iter()
            .filter(|l| !matches!(l, Line::Added(_)))
            .count()
    };
    let new = |lines: &[Line<'_>]| {
        lines
            .iter()
            .filter(|l| !matches!(l, Line::Removed(_)))
            .count()
    };
    let range = |skipped: usize, count: usize| match count {
        0 => format!("{skipped},0"),
        1 => format!("{}", skipped + 1),
        _ => format!("{},{count}", skipped + 1),
    };
    format!(
        "@@ -{} +{} @@",
        range(old(before), old(place)),
        range(new(before), new(place))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unified_diff_is_what_diff_says() {
        let old: String = (1..=30).map(|n| format!("{n}\n")).collect();
        let new = old
            .replace("5\n6\n", "five\n6\n")
            .replace("29\n30\n", "29\n");
        assert_eq!(
            unified(&lines(&old, &new)),
            [
                "@@ -2,7 +2,7 @@",
                " 2",
                " 3",
                " 4",
                "-5",
                "+five",
                " 6",
                " 7",
                " 8",
                "@@ -27,4 +27,3 @@",
                " 27",
                " 28",
                " 29",
                "-30",
            ]
        );
        assert_eq!(
            unified(&lines("", "a\nb\n")),
            ["@@ -0,0 +1,2 @@", "+a", "+b"]
        );
        assert!(unified(&lines("a\n", "a\n")).is_empty());
    }

    #[test]
    fn differences_are_smallest() {
        for (before, after, expected) in [
            ("", "", ""),
            ("a\n", "a\n", " a"),
            ("", "a\nb\n", "+a +b"),
            ("a\nb\n", "", "-a -b"),
            ("a\nb\nc\n", "a\nx\nc\n", " a -b +x  c"),
            ("a\nc\n", "a\nb\nc\n", " a +b  c"),
            ("a\nb\nc\nd\n", "b\nd\n", "-a  b -c  d"),
        ] {
            assert_eq!(
                marked(&lines(before, after)).join(" "),
                expected,
                "{before:?} {after:?}"
            );
        }
    }

    #[test]
    fn huge_differences_end_soon() {
        let old: String = (0..50_000).map(|number| format!("a{number}\n")).collect();
        let new: String = (0..50_000).map(|number| format!("b{number}\n")).collect();
        assert_eq!(lines(&old, &new).len(), 100_000);
    }
}
