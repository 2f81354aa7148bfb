//! What a user of rumi relies on, against a real broker and a real Docker engine.

#[cfg(test)]
mod approval;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod custom_handlers;
#[cfg(test)]
mod env_read;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod exec_libraries;
#[cfg(test)]
mod file_read;
#[cfg(test)]
mod file_write;
#[cfg(test)]
mod files_mount;
#[cfg(test)]
mod guest_network;
#[cfg(test)]
mod hot_reload;
#[cfg(test)]
mod inject;
#[cfg(test)]
mod intercept;
#[cfg(test)]
mod listing;
#[cfg(test)]
mod network;
#[cfg(test)]
mod packctl;
#[cfg(test)]
mod pending;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod runners;
#[cfg(test)]
mod runtime;
#[cfg(test)]
mod sdk;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod service;
#[cfg(test)]
mod suggest;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod terminal_programs;
#[cfg(test)]
mod terminal_stream;
#[cfg(test)]
mod tool_calls;
#[cfg(test)]
mod tool_contract;
#[cfg(test)]
mod tool_verbs;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod vetting;
#[cfg(test)]
mod world;
