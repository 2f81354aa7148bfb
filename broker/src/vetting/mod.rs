//! What is known of ad-hoc code before it runs, and what is kept out of whatever it prints.
//!
//! Code is text of a stranger's. The broker guesses its language from the outside ([`detect`]) and never parses it: that is
//! done by a checker inside of the container that the code will run in ([`Check`]), whose answer is as little to be
//! trusted as the code ([`Findings`]). All of it is advice for honest code; the container is the wall.

mod check;
mod findings;
mod language;
mod mask;

pub use check::{Check, checker};
pub(crate) use findings::is_name;
pub use findings::{CheckerError, Finding, Findings, Rule};
pub use language::{Because, Detected, Language, UnknownLanguage, detect};
pub use mask::{MASKED, Mask};

pub use crate::config::{Exemptions, ValidationSettings};
