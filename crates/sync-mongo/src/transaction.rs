//! One transaction: snapshot reads and a majority commit, on the primary.

use std::time::Duration;

use futures_util::StreamExt as _;
use mongodb::ClientSession;
use mongodb::bson::raw::{CStr, RawArrayBuf, RawDocumentBuf, cstr};
use mongodb::bson::{Document, rawdoc};
use mongodb::error::{Error as DriverError, TRANSIENT_TRANSACTION_ERROR};
use mongodb::options::{ReadConcern, ReadPreference, SelectionCriteria, TransactionOptions};
use sync_core::{Error, ErrorKind, Result};
use sync_kit::backoff::{Backoff, Policy};
use tokio::time::timeout;

use crate::database::{Database, majority};
use crate::documents::{self, Decode, decode};
use crate::error::{failed, refusals, within};

/// Bytes of the documents that one command inserts; a command holds 16 MiB at most.
const COMMAND_BYTES: usize = 12 << 20;
/// Statements of one command; the server takes 100,000.
const COMMAND_STATEMENTS: usize = 10_000;
/// The longest pause between two attempts to learn how a commit ended.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);

/// A transaction of one session. One that is dropped without a commit is aborted in the background.
pub(crate) struct Transaction<'d> {
    pub(crate) database: &'d Database,
    session: ClientSession,
    /// It has written the space's document.
    pub(crate) has_space: bool,
}

impl<'d> Transaction<'d> {
    pub(crate) async fn begin(database: &'d Database) -> Result<Self> {
        let options = TransactionOptions::builder()
            .read_concern(ReadConcern::snapshot())
            .write_concern(majority(database.commit_timeout))
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .max_commit_time(database.commit_timeout)
            .build();
        let begin = async {
            let mut session = database.client.start_session().await?;
            session.start_transaction().with_options(options).await?;
            Ok(session)
        };
        Ok(Self {
            database,
            session: within(database.timeout, begin).await?,
            has_space: false,
        })
    }

    /// A boundary at which tests let the page fail.
    pub(crate) fn boundary(&self, name: &'static str) -> Result<()> {
        self.database.faults.boundary(name)
    }

    /// Runs a command and answers what the server said; an error where it refused any write.
    pub(crate) async fn run(&mut self, command: RawDocumentBuf) -> Result<Document> {
        let run = self.database.driver.run_raw_command(command);
        let answer = within(self.database.timeout, run.session(&mut self.session)).await?;
        refusals(&answer)?;
        Ok(answer)
    }

    /// Every document of a `find`.
    pub(crate) async fn find_all<T>(
        &mut self,
        command: RawDocumentBuf,
        decode_one: Decode<T>,
    ) -> Result<Vec<T>> {
        let limit = self.database.timeout;
        let find = self.database.driver.run_raw_cursor_command(command);
        let mut cursor = within(limit, find.session(&mut self.session).batch()).await?;
        let mut batches = cursor.stream(&mut self.session);
        let mut all = Vec::new();
        while let Some(batch) = within(limit, async { batches.next().await.transpose() }).await? {
            decode(&batch, decode_one, |item| all.push(item))?;
        }
        Ok(all)
    }

    /// Inserts documents.
    pub(crate) async fn insert(
        &mut self,
        collection: &str,
        documents: Vec<RawDocumentBuf>,
    ) -> Result<()> {
        let insert = rawdoc! { "insert": collection, "ordered": false };
        self.write(insert, cstr!("documents"), documents).await
    }

    /// Runs statements of `update`, each of which finds its document.
    pub(crate) async fn update(
        &mut self,
        collection: &str,
        updates: Vec<RawDocumentBuf>,
    ) -> Result<()> {
        let update = rawdoc! { "update": collection, "ordered": false };
        self.write(update, cstr!("updates"), updates).await
    }

    /// Runs `command` over its list of statements, in as few parts as the server takes.
    async fn write(
        &mut self,
        command: RawDocumentBuf,
        list: &CStr,
        statements: Vec<RawDocumentBuf>,
    ) -> Result<()> {
        let mut statements = statements.into_iter().peekable();
        while statements.peek().is_some() {
            let mut part = RawArrayBuf::new();
            let (mut count, mut bytes) = (0, 0);
            let fits = |count: usize, bytes: usize| {
                count == 0 || count < COMMAND_STATEMENTS && bytes <= COMMAND_BYTES
            };
            while let Some(statement) =
                statements.next_if(|next| fits(count, bytes + next.as_bytes().len()))
            {
                count += 1;
                bytes += statement.as_bytes().len();
                part.push(statement);
            }
            let mut command = command.clone();
            command.append(list, part);
            if documents::count(&self.run(command).await?)? != count {
                return Err(documents::wrong("a document that was there a moment ago"));
            }
        }
        Ok(())
    }

    /// Deletes the documents that `filter` finds, and answers how many.
    pub(crate) async fn delete(
        &mut self,
        collection: &str,
        filter: RawDocumentBuf,
    ) -> Result<usize> {
        let command = rawdoc! {
            "delete": collection,
            "deletes": [{ "q": filter, "limit": 0 }],
        };
        documents::count(&self.run(command).await?)
    }

    /// Commits, and asks again where the answer is lost, for as long as the configuration allows.
    pub(crate) async fn commit(mut self) -> Result<()> {
        if let Err(fault) = self.boundary("commit") {
            self.abort().await;
            return Err(fault);
        }
        let mut backoff = Backoff::new(Policy {
            deadline: self.database.commit_timeout,
            first: COMMIT_PAUSE,
            longest: COMMIT_PAUSE,
        });
        loop {
            let left = self
                .database
                .commit_timeout
                .saturating_sub(backoff.elapsed());
            let commit = self.session.commit_transaction();
            let error = match timeout(left + COMMIT_PAUSE, commit).await {
                Ok(Ok(())) => return self.database.faults.committed(),
                Ok(Err(error)) if is_aborted(&error) => return Err(failed(error)),
                Ok(Err(error)) => failed(error),
                Err(_) => Error::new(ErrorKind::Timeout),
            };
            // Anything else may have been committed, on this server or on one that takes over.
            let Some(pause) = backoff.pause() else {
                return Err(Error::new(ErrorKind::UnknownOutcome).with_source(error));
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Aborts, so that the writers that wait for what it wrote go on now.
    pub(crate) async fn abort(mut self) {
        // The server aborts by itself what it is not told to.
        let _ = timeout(self.database.timeout, self.session.abort_transaction()).await;
    }
}

/// Whether the server says that nothing of the transaction was, or will be, committed.
fn is_aborted(error: &DriverError) -> bool {
    error.contains_label(TRANSIENT_TRANSACTION_ERROR)
}
