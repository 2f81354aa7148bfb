//! Text of a grant in which secrets are named.

use rumi_policy::{EnvKey, Template};
use zeroize::Zeroizing;

fn value(name: &EnvKey) -> Option<Zeroizing<String>> {
    let value = match name.as_str() {
        "TOKEN" => "s3cret",
        // A value is never read as a template itself.
        "NESTED" => "${secret:TOKEN}",
        "EMPTY" => "",
        _ => return None,
    };
    Some(Zeroizing::new(value.to_owned()))
}

#[test]
fn each_secret_is_put_where_its_name_stands() {
    for (text, names, expected) in [
        ("", vec![], ""),
        ("C.UTF-8", vec![], "C.UTF-8"),
        ("Bearer ${secret:TOKEN}", vec!["TOKEN"], "Bearer s3cret"),
        ("${secret:TOKEN}", vec!["TOKEN"], "s3cret"),
        (
            "a${secret:TOKEN}${secret:EMPTY}-${secret:TOKEN}z",
            vec!["TOKEN", "EMPTY", "TOKEN"],
            "as3cret-s3cretz",
        ),
        ("${secret:NESTED}", vec!["NESTED"], "${secret:TOKEN}"),
        ("5$ {or} $HOME }", vec![], "5$ {or} $HOME }"),
        ("größe ${secret:TOKEN}", vec!["TOKEN"], "größe s3cret"),
    ] {
        let template: Template = text.parse().unwrap();
        assert_eq!(template.as_str(), text);
        let found: Vec<_> = template.secrets().map(EnvKey::as_str).collect();
        assert_eq!(found, names, "{text}");
        assert_eq!(*template.render(&value).unwrap(), expected, "{text}");
    }
}

#[test]
fn a_secret_without_a_value_is_named() {
    let template: Template = "${secret:TOKEN} ${secret:GONE} ${secret:LOST}"
        .parse()
        .unwrap();
    assert_eq!(template.render(&value).unwrap_err().as_str(), "GONE");
}

#[test]
fn what_is_no_secret_is_refused_and_not_taken_literally() {
    let long = "x".repeat(4097);
    for (text, why) in [
        ("${TOKEN}", "write `${secret:NAME}`"),
        ("${env:TOKEN}", "write `${secret:NAME}`"),
        ("${Secret:TOKEN}", "write `${secret:NAME}`"),
        ("${ secret:TOKEN}", "write `${secret:NAME}`"),
        ("$${secret:TOKEN", "not closed by `}`"),
        ("Bearer ${secret:TOKEN", "not closed by `}`"),
        ("${secret:}", "it is empty"),
        ("${secret: TOKEN}", "only letters, digits and `_`"),
        ("${secret:A-B}", "only letters, digits and `_`"),
        ("${secret:${secret:TOKEN}}", "only letters, digits and `_`"),
        ("${secret:1A}", "it begins with a digit"),
        ("a\nb", "control character"),
        ("a\0b", "control character"),
        ("a\u{85}b", "control character"),
        (&long, "longer than 4096 bytes"),
    ] {
        let error = text.parse::<Template>().unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_template_shows_names_only() {
    let template: Template = "Bearer ${secret:TOKEN}".parse().unwrap();
    template.render(&value).unwrap();
    for shown in [
        format!("{template:?}"),
        template.to_string(),
        serde_json::to_string(&template).unwrap(),
    ] {
        assert!(shown.contains("${secret:TOKEN}") && !shown.contains("s3cret"));
    }
}
