#![doc = include_str!("../README.md")]

#[cfg(feature = "databases")]
pub mod databases;
#[cfg(feature = "databases")]
pub mod interrupted;
#[cfg(feature = "mediator")]
pub mod mediator;

/// The examples of the repository's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
