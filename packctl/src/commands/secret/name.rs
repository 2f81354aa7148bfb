//! The name of a secret, as it is typed.

use rumi_policy::{EnvKey, SpellingError};

use crate::failure::Failure;

/// Reads a name. It is not repeated where it is none: what was typed may be the value.
pub(super) fn parse(text: &str) -> Result<String, Failure> {
    if text.contains('=') {
        return Err(on_the_command_line());
    }
    let name: EnvKey = text
        .parse()
        .map_err(|error: SpellingError| Failure::Usage {
            message: format!("the name of the secret is not valid: {}", error.why()),
            hint: "names are letters, digits and `_`, as in `API_TOKEN`".to_owned(),
        })?;
    Ok(name.to_string())
}

/// Whoever may list processes reads command lines, and a shell keeps them.
pub(super) fn on_the_command_line() -> Failure {
    Failure::Usage {
        message: "a value is read from standard input and never from the command line, where others see it".to_owned(),
        hint: "packctl secret set NAME < FILE; what was typed here may be known to others now"
            .to_owned(),
    }
}
