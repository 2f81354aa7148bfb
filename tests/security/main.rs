//! What attackers try.
