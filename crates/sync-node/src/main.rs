#![doc = include_str!("../README.md")]

mod attempts;
mod cli;
mod commands;
mod confirm;
mod count;
mod dump;
mod duration;
mod failure;
mod marks;
mod output;
mod progress;
mod report;
mod session;
mod settings;
mod stop;

use std::process::ExitCode;

use crate::cli::Cli;
use crate::report::Format;

fn main() -> ExitCode {
    let format = Format::of_arguments(std::env::args_os());
    let outcome = Cli::read().and_then(|cli| pollster::block_on(commands::run(cli)));
    format.print(outcome)
}
