#![doc = include_str!("../README.md")]

#[cfg(feature = "databases")]
pub mod databases;
#[cfg(feature = "databases")]
pub mod interrupted;
#[cfg(feature = "mediator")]
pub mod mediator;
