//! The five permissions, granted and refused.
