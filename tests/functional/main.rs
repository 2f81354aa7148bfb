//! What a user of rumi relies on, against a real broker and a real Docker engine.

#[cfg(test)]
mod tool_contract;
