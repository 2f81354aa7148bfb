//! Crashes, restarts and removals.

#[cfg(test)]
mod kill;
