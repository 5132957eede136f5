//! Running a script on a space.

use redis::{Cmd, Value};
use sync_core::{Epoch, Error, Result};

use crate::error::{Failure, corrupt};
use crate::reply::{Parts, unexpected};
use crate::scripts::Script;
use crate::servers::Access;
use crate::space::Space;

/// How often a look at a space is repeated because its server changed in between.
const ADOPTIONS: u32 = 5;

/// What a script answered.
pub(crate) enum Reply {
    /// It did its work; what it says about that.
    Done(Parts),
    /// It did nothing, and says why in a word; what it adds.
    Not(&'static str, Parts),
}

impl Space {
    /// The command that runs `script` with room for so many arguments and bytes.
    pub(crate) fn command(&self, script: Script, arguments: usize, bytes: usize) -> Cmd {
        let keys = &self.keys().all;
        let mut command = Cmd::with_capacity(arguments + keys.len() + 3, bytes + 1_024);
        command
            .arg("EVALSHA")
            .arg(self.engine.names.of_script(script))
            .arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        command
    }

    /// Runs a script that looks at the space, under an epoch of the server that answers.
    pub(crate) async fn look(&self, script: Script, arguments: &[&[u8]]) -> Result<Parts> {
        let bytes = arguments.iter().map(|argument| argument.len() + 16).sum();
        let mut command = self.command(script, arguments.len(), bytes);
        for argument in arguments {
            command.arg(*argument);
        }
        for _ in 0..ADOPTIONS {
            let answer = self.send(script, Access::Repeatable, &command).await?;
            match Reply::of(answer)? {
                Reply::Done(parts) => return Ok(parts),
                Reply::Not("moved", _) => self.adopt().await?,
                Reply::Not(..) => return Err(unexpected()),
            }
        }
        Err(adopted_in_vain())
    }

    /// Runs a script that writes, and that does the same once more where it is run twice. `more` are
    /// its arguments behind the epoch and the channel.
    pub(crate) async fn change(&self, script: Script, more: &[&[u8]]) -> Result<Parts> {
        let epoch = Epoch::random()?;
        let mut command = self.command(script, 2 + more.len(), 256);
        command.arg(epoch.as_bytes()).arg(&self.keys().channel);
        for argument in more {
            command.arg(*argument);
        }
        let answer = self.send(script, Access::Repeatable, &command).await;
        match Reply::of(answer.map_err(Failure::of_a_write)?)? {
            Reply::Done(parts) => Ok(parts),
            Reply::Not(..) => Err(unexpected()),
        }
    }

    /// Begins a new epoch, because another server answers than the one that wrote last. Of many that
    /// notice, one begins it.
    pub(crate) async fn adopt(&self) -> Result<()> {
        self.change(Script::Adopt, &[]).await.map(drop)
    }

    /// Sends the command of a script, which the server may have to be told first.
    pub(crate) async fn send(
        &self,
        script: Script,
        access: Access,
        command: &Cmd,
    ) -> Result<Value, Failure> {
        let (servers, slot) = (&self.engine.servers, self.keys().slot);
        let mut sent = servers.call(slot, access, command).await;
        // More than once where a client flushes all the time, or the space moves on.
        for _ in 0..4 {
            match &sent {
                Err(failure) if failure.code() == Some("NOSCRIPT") => {}
                _ => break,
            }
            let load = script.load(self.engine.faults().counts_work());
            let loaded = servers.call(slot, access, &load).await;
            loaded.map_err(|failure| match failure {
                // The page itself was refused.
                Failure::Lost(error) => Failure::NotSent(error),
                other => other,
            })?;
            sent = servers.call(slot, access, command).await;
        }
        sent.map(|answer| self.engine.counted(script, answer))
    }
}

impl Reply {
    pub(crate) fn of(answer: Value) -> Result<Self> {
        let mut parts = Parts::of(answer)?;
        let word = parts.bytes()?;
        let word = match &word[..] {
            b"ok" => return Ok(Self::Done(parts)),
            b"moved" => "moved",
            b"conflict" => "conflict",
            b"exhausted" => "exhausted",
            b"register" => "register",
            _ => return Err(unexpected()),
        };
        Ok(Self::Not(word, parts))
    }
}

/// The error of a look that met another server each time it had adopted the one before.
pub(crate) fn adopted_in_vain() -> Error {
    corrupt("the server changes all the time")
}
