//! A side of a session on standard input and output, in the line protocol by which implementations of
//! negentropy are tested against each other.
//!
//! ```text
//! in   item,<ts>,<64 hexadecimal digits>      any number of times, in any order
//!      seal
//!      initiate                               -> msg,<hex>
//!      msg,<hex>       to an initiator        -> have,<id>…  need,<id>…  then msg,<hex> or done
//!      msg,<hex>       to a responder         -> msg,<hex>
//! ```
//!
//! The environment variable `FRAMESIZELIMIT` limits the messages, in bytes; 0 is no limit.

use std::error::Error;
use std::io::{self, BufRead, Write};

use sync_core::{OpId, TimeKey};
use sync_reconcile::{Index, Initiator, Options, Responder, View};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[cfg_attr(test, expect(dead_code, reason = "a test calls `run`"))]
fn main() -> Result<()> {
    let limit = std::env::var("FRAMESIZELIMIT").unwrap_or_default();
    let limit = if limit.is_empty() { 0 } else { limit.parse()? };
    run(io::stdin().lock(), io::stdout().lock(), limit)
}

enum Side {
    Filling(Index),
    Sealed(View),
    Initiator(Box<Initiator>),
    Responder(Box<Responder>),
}

/// Obeys every line of `input`; `limit` is the frame limit, or 0.
pub(crate) fn run(input: impl BufRead, mut output: impl Write, limit: usize) -> Result<()> {
    let options = match limit {
        0 => Options::new(),
        limit => Options::new().frame_limit(limit),
    };
    let mut side = Side::Filling(Index::new());
    for line in input.lines() {
        let line = line?;
        let (command, rest) = line.split_once(',').unwrap_or((&line, ""));
        side = match (command, side) {
            ("item", Side::Filling(mut index)) => {
                index.insert(item(rest)?);
                Side::Filling(index)
            }
            ("seal", Side::Filling(index)) => Side::Sealed(index.snapshot()),
            ("initiate", Side::Sealed(view)) => {
                let (initiator, message) = Initiator::start(view, options)?;
                writeln!(output, "msg,{}", hex::encode(message))?;
                Side::Initiator(Box::new(initiator))
            }
            ("msg", Side::Initiator(mut initiator)) => {
                let round = initiator.receive(&hex::decode(rest)?)?;
                write_ids(&mut output, "have", round.have)?;
                write_ids(&mut output, "need", round.need)?;
                match round.message {
                    Some(message) => writeln!(output, "msg,{}", hex::encode(message))?,
                    None => writeln!(output, "done")?,
                }
                Side::Initiator(initiator)
            }
            ("msg", Side::Sealed(view)) => {
                let mut responder = Box::new(Responder::start(view, options)?);
                answer(&mut output, &mut responder, rest)?;
                Side::Responder(responder)
            }
            ("msg", Side::Responder(mut responder)) => {
                answer(&mut output, &mut responder, rest)?;
                Side::Responder(responder)
            }
            _ => return Err(format!("{command} is not expected here").into()),
        };
        output.flush()?;
    }
    Ok(())
}

fn answer(output: &mut impl Write, responder: &mut Responder, message: &str) -> Result<()> {
    let answer = responder.receive(&hex::decode(message)?)?;
    Ok(writeln!(output, "msg,{}", hex::encode(answer))?)
}

fn write_ids(output: &mut impl Write, what: &str, ids: &[OpId]) -> io::Result<()> {
    ids.iter()
        .try_for_each(|id| writeln!(output, "{what},{id}"))
}

fn item(text: &str) -> Result<TimeKey> {
    let (ts, id) = text.split_once(',').ok_or("item,<ts>,<id>")?;
    Ok(TimeKey {
        ts: ts.parse()?,
        id: id.parse()?,
    })
}
