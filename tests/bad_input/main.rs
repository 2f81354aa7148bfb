//! What bad input gets: a clear error, and nothing lost or half-done.
