//! The reset ladder.
