//! One transaction: snapshot reads and a majority commit, on the primary.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use mongodb::ClientSession;
use mongodb::bson::raw::{RawArrayBuf, RawDocumentBuf, cstr};
use mongodb::bson::{Document, rawdoc};
use mongodb::error::{Error as DriverError, TRANSIENT_TRANSACTION_ERROR};
use mongodb::options::{ReadConcern, ReadPreference, SelectionCriteria, TransactionOptions};
use sync_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use crate::database::{Database, majority};
use crate::error::{WriteRefused, failed, timed_out};
use crate::snapshot::{Decode, decode};
use crate::{NAME, documents};

/// Bytes of the documents that one command inserts; a command holds 16 MiB at most.
const COMMAND_BYTES: usize = 12 << 20;
/// Statements of one command; the server takes 100,000.
const COMMAND_STATEMENTS: usize = 10_000;
/// A pause between two attempts to learn how a commit ended.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);

/// A transaction of one session. What is dropped without commit is aborted in the background.
pub(crate) struct Transaction<'d> {
    pub(crate) database: &'d Database,
    session: ClientSession,
    operation: &'static str,
    /// It has the space's document.
    pub(crate) locked: bool,
}

impl<'d> Transaction<'d> {
    pub(crate) async fn begin(database: &'d Database, operation: &'static str) -> Result<Self> {
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
        let session = timeout(database.timeout, begin)
            .await
            .map_err(|_| timed_out(operation))?
            .map_err(failed(operation))?;
        Ok(Self {
            database,
            session,
            operation,
            locked: false,
        })
    }

    /// Runs a command and answers what the server said; an error where it refused any write.
    pub(crate) async fn run(&mut self, command: RawDocumentBuf) -> Result<Document> {
        let run = self.database.driver.run_raw_command(command);
        let answer = timeout(self.database.timeout, run.session(&mut self.session))
            .await
            .map_err(|_| timed_out(self.operation))?
            .map_err(failed(self.operation))?;
        refusals(&answer)?;
        Ok(answer)
    }

    /// Every document of a `find`.
    pub(crate) async fn find_all<T>(
        &mut self,
        command: RawDocumentBuf,
        decode_one: Decode<T>,
    ) -> Result<Vec<T>> {
        let (limit, operation) = (self.database.timeout, self.operation);
        let find = self.database.driver.run_raw_cursor_command(command);
        let mut cursor = timeout(limit, find.session(&mut self.session).batch())
            .await
            .map_err(|_| timed_out(operation))?
            .map_err(failed(operation))?;
        let mut batches = cursor.stream(&mut self.session);
        let mut all = Vec::new();
        loop {
            let batch = timeout(limit, batches.next())
                .await
                .map_err(|_| timed_out(operation))?;
            let Some(batch) = batch.transpose().map_err(failed(operation))? else {
                return Ok(all);
            };
            decode(&batch, decode_one, operation, |item| all.push(item))?;
        }
    }

    /// Inserts documents, in as few commands as hold them.
    pub(crate) async fn insert(
        &mut self,
        collection: &str,
        documents: Vec<RawDocumentBuf>,
    ) -> Result<()> {
        let mut chunk = Chunk::default();
        for document in documents {
            if !chunk.takes(document.as_bytes().len()) {
                self.insert_chunk(collection, std::mem::take(&mut chunk))
                    .await?;
            }
            chunk.push(document);
        }
        self.insert_chunk(collection, chunk).await
    }

    async fn insert_chunk(&mut self, collection: &str, chunk: Chunk) -> Result<()> {
        if chunk.count == 0 {
            return Ok(());
        }
        let mut command = rawdoc! { "insert": collection, "ordered": false };
        command.append(cstr!("documents"), chunk.statements);
        self.run(command).await.map(drop)
    }

    /// Runs statements of `update`, in as few commands as hold them.
    pub(crate) async fn update(
        &mut self,
        collection: &str,
        updates: Vec<RawDocumentBuf>,
    ) -> Result<()> {
        let mut chunk = Chunk::default();
        for update in updates {
            if !chunk.takes(update.as_bytes().len()) {
                self.update_chunk(collection, std::mem::take(&mut chunk))
                    .await?;
            }
            chunk.push(update);
        }
        self.update_chunk(collection, chunk).await
    }

    async fn update_chunk(&mut self, collection: &str, chunk: Chunk) -> Result<()> {
        if chunk.count == 0 {
            return Ok(());
        }
        let mut command = rawdoc! { "update": collection, "ordered": false };
        command.append(cstr!("updates"), chunk.statements);
        let count = chunk.count;
        let matched = documents::count(&self.run(command).await?)?;
        if matched == count {
            return Ok(());
        }
        Err(documents::wrong("a document that was there a moment ago"))
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

    /// Commits, and asks as long as the configuration allows where the answer is lost.
    pub(crate) async fn commit(mut self) -> Result<()> {
        let until = Instant::now() + self.database.commit_timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now()) + COMMIT_PAUSE;
            let error = match timeout(left, self.session.commit_transaction()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if is_aborted(&error) => return Err(failed(self.operation)(error)),
                Ok(Err(error)) => failed(self.operation)(error),
                Err(_) => timed_out(self.operation),
            };
            // Anything else may have been committed, on this server or on one that takes over.
            if Instant::now() >= until {
                return Err(Error::new(ErrorKind::UnknownOutcome)
                    .with_source(error)
                    .of_backend(NAME)
                    .during(self.operation));
            }
            tokio::time::sleep(COMMIT_PAUSE).await;
        }
    }

    /// Aborts, so that whoever waits for what it wrote goes on now.
    pub(crate) async fn abort(mut self) {
        // The server aborts by itself what it is not told to.
        let _ = timeout(self.database.timeout, self.session.abort_transaction()).await;
    }
}

/// Whether the server says that nothing of the transaction was, or will be, committed.
fn is_aborted(error: &DriverError) -> bool {
    error.contains_label(TRANSIENT_TRANSACTION_ERROR)
}

/// The first write that a command's answer says was refused.
pub(crate) fn refusals(answer: &Document) -> Result<()> {
    let code = |refusal: &Document| refusal.get_i32("code").unwrap_or_default();
    if let Ok(errors) = answer.get_array("writeErrors") {
        let first = errors.first().and_then(|first| first.as_document());
        return Err(WriteRefused::error(first.map(code).unwrap_or_default()));
    }
    if let Ok(error) = answer.get_document("writeConcernError") {
        return Err(WriteRefused::error(code(error)));
    }
    Ok(())
}

/// Statements of one command.
#[derive(Default)]
struct Chunk {
    statements: RawArrayBuf,
    count: usize,
    bytes: usize,
}

impl Chunk {
    /// Whether a statement of so many bytes has a place in the same command.
    fn takes(&self, bytes: usize) -> bool {
        self.count == 0 || self.count < COMMAND_STATEMENTS && self.bytes + bytes <= COMMAND_BYTES
    }

    fn push(&mut self, statement: RawDocumentBuf) {
        self.count += 1;
        self.bytes += statement.as_bytes().len();
        self.statements.push(statement);
    }
}
