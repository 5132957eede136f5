//! The scripts. Each is one atomic look at a space, or one atomic change of it.

use std::borrow::Cow;

use redis::Value;

/// A script, by what it does. Its number is its place in [`Script::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    Adopt,
    Apply,
    Drop,
    Epoch,
    Feed,
    Floor,
    Get,
    Known,
    List,
    Load,
    Prune,
    Scan,
    Sizes,
    Stats,
}

impl Script {
    pub(crate) const ALL: [Self; 14] = [
        Self::Adopt,
        Self::Apply,
        Self::Drop,
        Self::Epoch,
        Self::Feed,
        Self::Floor,
        Self::Get,
        Self::Known,
        Self::List,
        Self::Load,
        Self::Prune,
        Self::Scan,
        Self::Sizes,
        Self::Stats,
    ];

    /// Its name where work is counted.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Adopt => "adopt",
            Self::Apply => "apply",
            Self::Drop => "drop",
            Self::Epoch => "epoch",
            Self::Feed => "feed",
            Self::Floor => "floor",
            Self::Get => "get",
            Self::Known => "known",
            Self::List => "list",
            Self::Load => "load",
            Self::Prune => "prune",
            Self::Scan => "scan",
            Self::Sizes => "sizes",
            Self::Stats => "stats",
        }
    }

    /// Its text.
    pub(crate) fn text(self, counting: bool) -> Cow<'static, str> {
        macro_rules! read {
            ($file:literal) => {
                concat!(
                    include_str!("scripts/prelude.lua"),
                    include_str!("scripts/read.lua"),
                    include_str!($file)
                )
            };
        }
        macro_rules! write {
            ($file:literal) => {
                concat!(include_str!("scripts/prelude.lua"), include_str!($file))
            };
        }
        let text = match self {
            Self::Adopt => write!("scripts/adopt.lua"),
            Self::Apply => write!("scripts/apply.lua"),
            Self::Drop => write!("scripts/drop.lua"),
            Self::Epoch => write!("scripts/epoch.lua"),
            Self::Feed => read!("scripts/feed.lua"),
            Self::Floor => write!("scripts/floor.lua"),
            Self::Get => read!("scripts/get.lua"),
            Self::Known => read!("scripts/known.lua"),
            Self::List => read!("scripts/list.lua"),
            Self::Load => read!("scripts/load.lua"),
            Self::Prune => write!("scripts/prune.lua"),
            Self::Scan => read!("scripts/scan.lua"),
            Self::Sizes => read!("scripts/sizes.lua"),
            Self::Stats => read!("scripts/stats.lua"),
        };
        if counting {
            Cow::Owned(count(text))
        } else {
            Cow::Borrowed(text)
        }
    }

    /// The command that loads it, and answers the name under which the server keeps it.
    pub(crate) fn load(self, counting: bool) -> redis::Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.text(counting).as_bytes());
        command
    }
}

/// The names under which servers keep the scripts: the SHA-1 of each text, which the server tells.
pub(crate) struct Names([String; Script::ALL.len()]);

impl Names {
    /// From the answers to loading [`Script::ALL`].
    pub(crate) fn of(answers: Value) -> Option<Self> {
        let Value::Array(answers) = answers else {
            return None;
        };
        let names = answers.into_iter().map(|name| match name {
            Value::BulkString(name) => String::from_utf8(name).ok(),
            Value::SimpleString(name) => Some(name),
            _ => None,
        });
        let names = names.collect::<Option<Vec<_>>>()?;
        names.try_into().ok().map(Self)
    }

    pub(crate) fn of_script(&self, script: Script) -> &str {
        let at = Script::ALL.iter().position(|other| *other == script);
        at.and_then(|at| self.0.get(at)).map_or("", String::as_str)
    }
}

/// A script that runs `text` and answers `{its answer, values that its commands took and gave}`.
fn count(text: &str) -> String {
    format!(
        "local touched = 0
local real = redis
local redis = setmetatable({{call = function(...)
  touched = touched + select('#', ...)
  local answer = real.call(...)
  touched = touched + (type(answer) == 'table' and #answer or 1)
  return answer
end}}, {{__index = real}})
local function run()
{text}
end
return {{run(), touched}}
"
    )
}
