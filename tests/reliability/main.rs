//! Crashes, restarts and removals.

#[cfg(test)]
mod files_mount;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod reload;
