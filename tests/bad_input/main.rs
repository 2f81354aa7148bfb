//! What bad input gets: a clear error with its remedy, and nothing lost or half-done.

#[cfg(test)]
mod build_rules;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod policy_files;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod requirements;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod starting;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod verbs;
