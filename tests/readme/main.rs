//! Runs the command blocks of README.md as a new user would, one after the other in one shell.
//!
//! A block ```` ```sh ```` takes part when a comment `<!-- test: NAME -->` or `<!-- test: NAME, exit N -->` stands
//! before it. The lines of a ```` ```text ```` block that follows must come in its output, in that order; `…` stands for anything.

#[cfg(test)]
mod blocks;
#[cfg(test)]
mod shell;
#[cfg(test)]
mod story;
