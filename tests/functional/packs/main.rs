//! Packs, tools, reloads, and what bad input gets.
