//! The disk's one task: the outbox and the drafts of the gateway we are linked to, in order.

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::msg::{Done, Msg};
use crate::outbox::drafts::Drafts;
use crate::outbox::store::Store;
use crate::outbox::{Delivery, Message};

/// Jobs on their way to the disk. More than a person can cause; a full queue is reported.
const JOBS: usize = 256;

/// Where a gateway's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The outbox.
    pub(crate) outbox: PathBuf,
    /// The directory of drafts.
    pub(crate) drafts: PathBuf,
}

/// A job.
#[derive(Debug)]
pub(super) enum Job {
    /// Use this gateway's files from now on.
    Open(Place),
    /// Add a message, then tell the loop.
    Add(Message),
    /// Note that a message is being sent, then say so.
    MarkSent(String, oneshot::Sender<Result<(), String>>),
    /// Note how far a message has come.
    Note(String, Delivery),
    /// Keep a draft.
    SaveDraft(String, String),
    /// Read a draft, then tell the loop.
    LoadDraft(String),
    /// Say when everything before is done.
    Flush(oneshot::Sender<()>),
}

/// A handle to the task; it ends with the handle.
#[derive(Debug)]
pub(super) struct Disk {
    jobs: mpsc::Sender<Job>,
    _task: AbortOnDropHandle<()>,
}

impl Disk {
    /// Starts the task.
    pub(super) fn start(results: mpsc::Sender<Msg>) -> Self {
        let (jobs, inbox) = mpsc::channel(JOBS);
        let worker = Worker {
            inbox,
            results,
            store: Err("the outbox is not open yet".to_owned()),
            drafts: None,
        };
        Self {
            jobs,
            _task: AbortOnDropHandle::new(tokio::spawn(worker.run())),
        }
    }

    /// Gives the task a job; false when it has too many.
    pub(super) fn give(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// A way to give jobs from other tasks.
    pub(super) fn jobs(&self) -> mpsc::Sender<Job> {
        self.jobs.clone()
    }

    /// Waits until every job is done.
    pub(super) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.jobs.send(Job::Flush(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

struct Worker {
    inbox: mpsc::Receiver<Job>,
    results: mpsc::Sender<Msg>,
    store: Result<Store, String>,
    drafts: Option<Drafts>,
}

impl Worker {
    async fn run(mut self) {
        while let Some(job) = self.inbox.recv().await {
            self.work(job).await;
        }
    }

    async fn tell(&self, done: Done) {
        // The loop that listens may be gone; then nobody needs to know.
        let _ = self.results.send(Msg::Done(done)).await;
    }

    async fn trouble(&self, outcome: Result<(), String>) {
        if let Err(words) = outcome {
            tracing::warn!(%words, "outbox");
            self.tell(Done::DiskTrouble(words)).await;
        }
    }

    async fn work(&mut self, job: Job) {
        match job {
            Job::Open(place) => self.open(place).await,
            Job::Add(message) => {
                let result = match &self.store {
                    Ok(store) => store.add(&message).await.map_err(|error| error.to_string()),
                    Err(words) => Err(words.clone()),
                };
                self.tell(Done::Stored(message, result)).await;
            }
            Job::MarkSent(key, reply) => {
                let result = self.set(&key, &Delivery::Sent).await;
                let _ = reply.send(result);
            }
            Job::Note(key, delivery) => {
                let outcome = self.set(&key, &delivery).await;
                self.trouble(outcome).await;
            }
            Job::SaveDraft(session, text) => {
                if let Some(drafts) = &self.drafts {
                    let outcome = drafts.save(&session, &text);
                    let outcome =
                        outcome.map_err(|error| format!("the draft is not kept: {error}"));
                    self.trouble(outcome).await;
                }
            }
            Job::LoadDraft(session) => {
                let Some(drafts) = &self.drafts else { return };
                match drafts.load(&session) {
                    Ok(text) => self.tell(Done::Draft { session, text }).await,
                    Err(error) => {
                        let words = format!("the draft cannot be read: {error}");
                        self.trouble(Err(words)).await;
                    }
                }
            }
            Job::Flush(done) => {
                let _ = done.send(());
            }
        }
    }

    async fn set(&self, key: &str, delivery: &Delivery) -> Result<(), String> {
        match &self.store {
            Ok(store) => store
                .set(key, delivery)
                .await
                .map_err(|error| error.to_string()),
            Err(words) => Err(words.clone()),
        }
    }

    /// Turns to another gateway's files. Messages that no gateway has seen yet go with us: the same
    /// login's gateway was found elsewhere.
    async fn open(&mut self, place: Place) {
        let old = std::mem::replace(&mut self.store, Err(String::new()));
        self.drafts = Some(Drafts::new(&place.drafts));
        self.store = Store::open(&place.outbox)
            .await
            .map_err(|error| error.to_string());
        let mut outcome = Ok(());
        if let (Ok(old), Ok(new)) = (&old, &self.store) {
            outcome = carry_over(old, new).await;
            old.close().await;
        }
        self.trouble(outcome).await;
        let messages = match &self.store {
            Ok(store) => store.all().await.map_err(|error| error.to_string()),
            Err(words) => Err(words.clone()),
        };
        self.tell(Done::Outbox(messages)).await;
    }
}

async fn carry_over(old: &Store, new: &Store) -> Result<(), String> {
    for message in old.all().await.map_err(|error| error.to_string())? {
        if message.delivery == Delivery::Queued {
            // Added before it is removed: a crash between leaves it twice on disk, once on the wire.
            new.add(&message).await.map_err(|error| error.to_string())?;
            old.remove(&message.key)
                .await
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    async fn next(results: &mut mpsc::Receiver<Msg>) -> Done {
        match tokio::time::timeout(DEADLINE, results.recv())
            .await
            .expect("in time")
        {
            Some(Msg::Done(done)) => done,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_no_gateway_has_seen_moves_to_the_place_of_the_one_that_was_found() {
        let home = tempfile::tempdir().expect("directory");
        let place = |name: &str| Place {
            outbox: home.path().join(name).join("outbox.db"),
            drafts: home.path().join(name).join("drafts"),
        };
        let (tx, mut results) = mpsc::channel(16);
        let disk = Disk::start(tx);
        disk.give(Job::Open(place("a")));
        assert!(
            matches!(next(&mut results).await, Done::Outbox(Ok(messages)) if messages.is_empty())
        );
        for key in ["queued", "sent"] {
            let message = Message {
                key: key.into(),
                session: "s".into(),
                text: "x".into(),
                at: 1,
                delivery: Delivery::Queued,
            };
            disk.give(Job::Add(message));
            assert!(matches!(next(&mut results).await, Done::Stored(_, Ok(()))));
        }
        disk.give(Job::Note("sent".into(), Delivery::Sent));
        disk.give(Job::Open(place("b")));
        let Done::Outbox(Ok(messages)) = next(&mut results).await else {
            panic!("no outbox")
        };
        let keys: Vec<&str> = messages
            .iter()
            .map(|message| message.key.as_str())
            .collect();
        assert_eq!(keys, ["queued"]);
    }

    #[tokio::test]
    async fn without_an_outbox_nothing_counts_as_stored() {
        let (tx, mut results) = mpsc::channel(16);
        let disk = Disk::start(tx);
        let message = Message {
            key: "k".into(),
            session: "s".into(),
            text: "x".into(),
            at: 1,
            delivery: Delivery::Queued,
        };
        disk.give(Job::Add(message));
        assert!(matches!(next(&mut results).await, Done::Stored(_, Err(_))));
        let (reply, marked) = oneshot::channel();
        disk.give(Job::MarkSent("k".into(), reply));
        assert!(marked.await.expect("answer").is_err());
    }
}
