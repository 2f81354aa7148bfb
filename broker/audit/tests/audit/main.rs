//! The log, from outside: what is written, what survives, and what is noticed.

mod crashes;
mod mutations;
mod records;
mod support;
