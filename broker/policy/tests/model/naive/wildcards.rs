//! Texts with wildcards, tried out in every way there is.

/// `*` is any text, `?` any one character.
pub fn fits(glob: &str, text: &str) -> bool {
    let glob: Vec<char> = glob.chars().collect();
    let text: Vec<char> = text.chars().collect();
    fits_chars(&glob, &text)
}

fn fits_chars(glob: &[char], text: &[char]) -> bool {
    match glob {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skip| fits_chars(rest, &text[skip..])),
        ['?', rest @ ..] => !text.is_empty() && fits_chars(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && fits_chars(rest, &text[1..]),
    }
}

/// The same over paths, segment by segment: `*` stays within one, and a segment `**` is any number
/// of them; at the end it is at least one.
pub fn fits_path(glob: &str, path: &str) -> bool {
    let glob: Vec<&str> = glob.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    fits_segments(&glob, &path)
}

fn fits_segments(glob: &[&str], path: &[&str]) -> bool {
    match glob {
        [] => path.is_empty(),
        ["**"] => !path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|skip| fits_segments(rest, &path[skip..])),
        [segment, rest @ ..] => {
            !path.is_empty() && fits(segment, path[0]) && fits_segments(rest, &path[1..])
        }
    }
}
