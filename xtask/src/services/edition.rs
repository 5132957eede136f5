//! What `--release` names: a release of a server, and how it is set up.

use super::fetch::{RELEASES, Release};
use super::provider::Choice;
use super::server::Server;

/// A server as a person asks for it: `postgres-18-pgbouncer`.
#[derive(Clone, Debug)]
pub(crate) struct Edition {
    pub(super) name: String,
    /// `postgres-18`.
    pub(super) release: String,
    pub(super) server: Server,
    /// The file to fetch. A release without one has to be in `PATH`.
    pub(super) pinned: Option<&'static Release>,
    pub(super) setup: Setup,
}

/// How a server is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Setup {
    /// As a backend needs it to work at all.
    #[default]
    Plain,
    /// Behind a PgBouncer that gives a connection away between two transactions.
    Pooled,
    /// Spread over three nodes.
    Cluster,
    /// Waiting for the disk, as outside of tests.
    Durable,
}

impl Setup {
    const ALL: [Self; 4] = [Self::Plain, Self::Pooled, Self::Cluster, Self::Durable];

    fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Pooled => "-pgbouncer",
            Self::Cluster => "-cluster",
            Self::Durable => "-durable",
        }
    }

    fn fits(self, server: Server) -> bool {
        match self {
            Self::Plain => true,
            Self::Pooled | Self::Durable => server == Server::Postgres,
            Self::Cluster => server == Server::Redis,
        }
    }
}

impl Edition {
    /// Reads a name: a product, the first numbers of a version, and how it is set up.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let setups = Setup::ALL.into_iter().filter_map(|setup| {
            let release = name.strip_suffix(setup.suffix())?;
            Some((setup, release, server_of(release)?))
        });
        let mut fitting = setups.filter(|(setup, _, server)| setup.fits(*server));
        let Some((setup, release, server)) = fitting.next() else {
            let pinned: Vec<_> = RELEASES.iter().map(|release| &*release.name).collect();
            return Err(format!(
                "expected {}; or postgres-15, redis-7.0 … of a server in PATH; behind those of \
                 PostgreSQL -pgbouncer or -durable, and behind those of Redis and Valkey -cluster",
                pinned.join(", ")
            ));
        };
        Ok(Self {
            name: name.to_owned(),
            release: release.to_owned(),
            server,
            pinned: Release::find(release),
            setup,
        })
    }

    /// The provider that may have this one, within the choice of a person; none if none can have it.
    pub(super) fn choice(&self, chosen: Choice) -> Option<Choice> {
        match (chosen, self.pinned) {
            (Choice::Auto | Choice::Fetched, Some(_)) => Some(Choice::Fetched),
            (Choice::Local, Some(_)) => Some(Choice::Local),
            (Choice::Auto | Choice::Local, None) | (Choice::Path, _) => Some(Choice::Path),
            _ => None,
        }
    }
}

/// The server whose release has this name: a product, a dash, and a version.
fn server_of(release: &str) -> Option<Server> {
    let (product, version) = release.split_once('-')?;
    let is_version = version
        .split('.')
        .all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let server = match product {
        "postgres" => Server::Postgres,
        "redis" | "valkey" => Server::Redis,
        "mongodb" => Server::Mongo,
        _ => return None,
    };
    is_version.then_some(server)
}
