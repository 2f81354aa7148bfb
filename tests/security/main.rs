//! What attackers try, and what comes of it. SECURITY.md maps each threat to its tests here.

#[cfg(test)]
mod approval;
#[cfg(test)]
mod custom_handlers;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod files;
#[cfg(test)]
mod files_mount;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod misbehaving;
#[cfg(test)]
mod neighbours;
#[cfg(test)]
mod network;
#[cfg(test)]
mod pending;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod threats;
#[cfg(test)]
mod yard;
