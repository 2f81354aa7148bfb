//! Crashes, restarts and removals.

mod kill;
