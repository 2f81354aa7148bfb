//! Runs the binary itself: what it prints, what it writes, how it exits.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod control;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod history;
#[cfg(test)]
mod secret;
#[cfg(test)]
mod terminal;
