//! Sessions between peers, without a network and without a clock.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::single_range_in_vec_init,
    reason = "sets are lists of ranges of numbers, often of one"
)]

mod checks;
mod ends;
mod finds;
mod kit;
mod many;
