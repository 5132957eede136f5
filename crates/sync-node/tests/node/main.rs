//! The program as a user runs it: the real binary, on databases in directories of their own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends in a panic"
)]

mod commands;
mod decisions;
mod demo;
mod dump;
mod follow;
mod generate;
mod hydrate;
mod invalid;
mod load;
mod node;
mod prune;
mod restore;
mod settings;
mod takeover;
mod upstream;
