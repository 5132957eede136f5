//! Sessions between peers, without a network and without a clock.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod checks;
mod ends;
mod finds;
mod kit;
mod many;
