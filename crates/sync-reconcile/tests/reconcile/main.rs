//! Sessions, against each other, against the `negentropy` crate, and against peers that are broken or
//! mean harm.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod capture;
mod cut;
mod differential;
mod hostile;
mod peers;
mod sets;
mod views;
