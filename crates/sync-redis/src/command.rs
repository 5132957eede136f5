//! Running a script on a space.

use redis::{Cmd, Value};
use sync_core::{Epoch, Error, Result};

use crate::error::{Failure, corrupt, named};
use crate::reply::Parts;
use crate::scripts::Script;
use crate::servers::{Access, Call};
use crate::space::Space;

/// How often a look at a space is repeated because its server changed in between.
const ADOPTIONS: u32 = 5;

/// What a script answered.
pub(crate) enum Answer {
    /// It did its work; what it says about that.
    Done(Parts),
    /// It did nothing, and says why in a word; what it adds.
    Not(&'static str, Parts),
}

impl Space {
    /// The command that runs `script` with room for so many arguments and bytes.
    pub(crate) fn command(&self, script: Script, arguments: usize, bytes: usize) -> Cmd {
        let keys = &self.keys.all;
        let mut command = Cmd::with_capacity(arguments + keys.len() + 3, bytes + 1_024);
        command
            .arg("EVALSHA")
            .arg(self.inner.names.of_script(script))
            .arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        command
    }

    /// Runs a script that looks at the space, under an epoch of the server that answers.
    pub(crate) async fn look(
        &self,
        operation: &'static str,
        script: Script,
        arguments: &[&[u8]],
    ) -> Result<Parts> {
        let bytes = arguments.iter().map(|argument| argument.len() + 16).sum();
        let mut command = self.command(script, arguments.len(), bytes);
        for argument in arguments {
            command.arg(*argument);
        }
        for _ in 0..ADOPTIONS {
            let answer = self
                .send(script, Access::Repeatable, &command)
                .await
                .map_err(|failure| failure.into_error(operation, false))?;
            match Answer::of(answer).map_err(named(operation))? {
                Answer::Done(parts) => return Ok(parts),
                Answer::Not("moved", _) => self.adopt(operation).await?,
                Answer::Not(..) => break,
            }
        }
        Err(named(operation)(corrupt("the server changes all the time")))
    }

    /// Runs a script that writes, and that does the same once more where it is run twice. `more` are
    /// its arguments behind the epoch and the channel.
    pub(crate) async fn change(
        &self,
        operation: &'static str,
        script: Script,
        more: &[&[u8]],
    ) -> Result<Parts> {
        let epoch = Epoch::random()?;
        let mut command = self.command(script, 2 + more.len(), 256);
        command.arg(epoch.as_bytes()).arg(&self.keys.channel);
        for argument in more {
            command.arg(*argument);
        }
        let answer = self
            .send(script, Access::Repeatable, &command)
            .await
            .map_err(|failure| failure.into_error(operation, true))?;
        match Answer::of(answer).map_err(named(operation))? {
            Answer::Done(parts) => Ok(parts),
            Answer::Not(..) => Err(named(operation)(corrupt("an answer that has no meaning"))),
        }
    }

    /// Begins a new epoch, because another server answers than the one that wrote last. Of many that
    /// notice, one begins it.
    pub(crate) async fn adopt(&self, operation: &'static str) -> Result<()> {
        self.change(operation, Script::Adopt, &[]).await.map(drop)
    }

    /// Sends the command of a script, which the server may have to be told first.
    pub(crate) async fn send(
        &self,
        script: Script,
        access: Access,
        command: &Cmd,
    ) -> Result<Value, Failure> {
        let (servers, slot) = (&self.inner.servers, self.keys.slot);
        let mut sent = servers.call(slot, access, Call::One(command)).await;
        // More than once where somebody flushes all the time, or the space moves on.
        for _ in 0..4 {
            match &sent {
                Err(failure) if failure.code() == Some("NOSCRIPT") => {}
                _ => break,
            }
            let load = script.load(self.inner.counting());
            servers.call(slot, access, Call::One(&load)).await.map_err(
                |failure| match failure {
                    // The page itself was refused.
                    Failure::Lost(error) => Failure::NotSent(error),
                    other => other,
                },
            )?;
            sent = servers.call(slot, access, Call::One(command)).await;
        }
        sent.map(|answer| self.inner.counted(script, answer))
    }
}

impl Answer {
    pub(crate) fn of(answer: Value) -> Result<Self> {
        let mut parts = Parts::of(answer)?;
        let word = parts.bytes()?;
        let word = match &word[..] {
            b"ok" => return Ok(Self::Done(parts)),
            b"moved" => "moved",
            b"conflict" => "conflict",
            b"exhausted" => "exhausted",
            b"register" => "register",
            _ => return Err(corrupt("an answer that has no meaning")),
        };
        Ok(Self::Not(word, parts))
    }
}

/// An error of `operation` that the page's own sending failed with.
pub(crate) fn page_failed(failure: Failure) -> Error {
    failure.into_error("apply", true)
}
