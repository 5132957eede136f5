//! What `cargo xtask` asks of servers through their drivers, which it does not depend on itself.
//!
//! | command | does |
//! | --- | --- |
//! | `servers version postgres\|redis\|mongo` | prints what the server is that `SYNC_TEST_…_URL` names |
//! | `servers initiate HOST:PORT` | makes a MongoDB server a replica set of itself and waits until it is the primary |
//! | `servers cluster HOST:PORT…` | makes Redis servers a cluster, with the password in `SERVERS_PASSWORD` |
//!
//! Each has a feature, so that asking one server does not compile the drivers of the others.

#[cfg(feature = "ask-mongo")]
mod mongo;
#[cfg(feature = "ask-postgres")]
mod postgres;
#[cfg(feature = "ask-redis")]
mod redis;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Builder;
use tokio::time::timeout;

/// How long a server may take to answer, and a set or a cluster to come together.
const LIMIT: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match run_in_time(&words) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_in_time(words: &[&str]) -> Result<String> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async { timeout(LIMIT, run(words)).await });
    answer.context("no answer in time")?
}

async fn run(words: &[&str]) -> Result<String> {
    match words {
        #[cfg(feature = "ask-postgres")]
        ["version", "postgres"] => postgres::version(&variable("SYNC_TEST_POSTGRES_URL")?).await,
        #[cfg(feature = "ask-redis")]
        ["version", "redis"] => redis::version(&variable("SYNC_TEST_REDIS_URL")?).await,
        #[cfg(feature = "ask-redis")]
        ["cluster", nodes @ ..] => redis::form(nodes, &variable("SERVERS_PASSWORD")?).await,
        #[cfg(feature = "ask-mongo")]
        ["version", "mongo"] => mongo::version(&variable("SYNC_TEST_MONGO_URL")?).await,
        #[cfg(feature = "ask-mongo")]
        ["initiate", address] => mongo::initiate(address).await,
        _ => bail!("not a command of this build: {}", words.join(" ")),
    }
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| name.to_owned())
}
