//! Packs, their builds and their tools, against a real broker and a real Docker engine.

#[cfg(test)]
mod tool_contract;
