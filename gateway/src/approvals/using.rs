//! An approval while it is used: from the moment at which nobody else can use it to the one at which the
//! command is on its way.

use std::sync::Arc;

use clawline::protocol::methods::approvals::Decision;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::ApprovalError;
use crate::store::{ApprovalStore, now_ms};

/// The right to send one command. Whoever drops it unsent, or leaves before having it, gives the
/// approval back; after a kill in between it stays used, so that it never lets two commands run.
#[must_use = "an approval is given back unless its command is sent"]
#[derive(Debug)]
pub(crate) struct Using {
    pub(crate) decision: Decision,
    sent: oneshot::Sender<()>,
}

impl Using {
    /// The command is on its way.
    pub(crate) fn sent(self) {
        // Only a runtime that is going away has stopped listening.
        let _ = self.sent.send(());
    }
}

/// Uses an approval for what it was asked for. Safe to drop.
pub(super) async fn begin(
    store: Arc<dyn ApprovalStore>,
    id: String,
    digest: String,
    tasks: &TaskTracker,
) -> Result<Using, ApprovalError> {
    let (sent, is_sent) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    // Whatever becomes of the caller, this knows whether the approval was used, and for what.
    tasks.spawn(async move {
        let used = store.consume(&id, &digest, now_ms()).await;
        let has_it = matches!(used, Ok(Some(_)));
        let _ = tell.send(used);
        if !has_it || is_sent.await.is_ok() {
            return;
        }
        match store.give_back(&id, &digest).await {
            Ok(()) => tracing::info!(approval = %id, "its command was not sent; it can be used"),
            Err(error) => {
                tracing::warn!(approval = %id, %error, "its command was not sent; it stays used");
            }
        }
    });
    let used = told.await.map_err(|_| ApprovalError::NotFound)??;
    let decision = used.and_then(|used| Decision::parse(used.decision.as_deref()?));
    let decision = decision.ok_or(ApprovalError::NotFound)?;
    Ok(Using { decision, sent })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;
    use tokio::sync::{Notify, Semaphore};

    use super::*;
    use crate::store::{Approval, ApprovalState, Inserted, PendingBounds, Store, StoreError};

    const DEADLINE: Duration = Duration::from_secs(30);

    /// A store that says that it used an approval only when it may.
    struct Slow {
        real: Arc<dyn ApprovalStore>,
        used: Notify,
        may_say: Semaphore,
    }

    type Stored<T> = Result<T, StoreError>;

    #[async_trait]
    impl ApprovalStore for Slow {
        async fn insert(&self, approval: &Approval, bounds: PendingBounds) -> Stored<Inserted> {
            self.real.insert(approval, bounds).await
        }

        async fn get(&self, id: &str) -> Stored<Option<Approval>> {
            self.real.get(id).await
        }

        async fn pending(&self, now: i64) -> Stored<Vec<Approval>> {
            self.real.pending(now).await
        }

        async fn resolve(
            &self,
            id: &str,
            state: ApprovalState,
            decision: Option<&str>,
            by: Option<&str>,
            now: i64,
        ) -> Stored<Option<Approval>> {
            self.real.resolve(id, state, decision, by, now).await
        }

        async fn consume(&self, id: &str, digest: &str, now: i64) -> Stored<Option<Approval>> {
            let used = self.real.consume(id, digest, now).await;
            self.used.notify_one();
            self.may_say.acquire().await.unwrap().forget();
            used
        }

        async fn give_back(&self, id: &str, digest: &str) -> Stored<()> {
            self.real.give_back(id, digest).await
        }

        async fn expire(&self, now: i64) -> Stored<u64> {
            self.real.expire(now).await
        }

        async fn restart(&self, now: i64) -> Stored<()> {
            self.real.restart(now).await
        }

        async fn prune(&self, before: i64, keep: i64) -> Stored<u64> {
            self.real.prune(before, keep).await
        }
    }

    struct World {
        store: Arc<Slow>,
        tasks: TaskTracker,
        _home: tempfile::TempDir,
    }

    impl World {
        /// A store with one approval that was given and not used.
        async fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
            let approval = Approval {
                id: "a".into(),
                state: ApprovalState::Pending,
                plan: "{}".into(),
                digest: "d".into(),
                request: "{}".into(),
                device_id: None,
                decision: None,
                resolved_by: None,
                created_at: 1,
                expires_at: i64::MAX,
                resolved_at: None,
            };
            let (real, room) = (
                store.approvals(),
                PendingBounds {
                    all: 9,
                    of_device: 9,
                },
            );
            real.insert(&approval, room).await.unwrap();
            let (state, said) = (ApprovalState::Allowed, Some("allow-once"));
            real.resolve("a", state, said, None, 2).await.unwrap();
            Self {
                store: Arc::new(Slow {
                    real,
                    used: Notify::new(),
                    may_say: Semaphore::new(0),
                }),
                tasks: TaskTracker::new(),
                _home: home,
            }
        }

        async fn begin(&self) -> Result<Using, ApprovalError> {
            begin(self.store.clone(), "a".into(), "d".into(), &self.tasks).await
        }

        /// Its state once nobody is about to change it.
        async fn settled(&self) -> ApprovalState {
            self.tasks.close();
            let ended = tokio::time::timeout(DEADLINE, self.tasks.wait()).await;
            ended.expect("all that was begun ends");
            self.state().await
        }

        async fn state(&self) -> ApprovalState {
            self.store.get("a").await.unwrap().unwrap().state
        }
    }

    #[tokio::test]
    async fn an_approval_whose_caller_leaves_at_that_very_moment_can_be_used_again() {
        let world = World::new().await;
        tokio::select! {
            _ = world.begin() => panic!("it was not told yet"),
            () = world.store.used.notified() => {}
        }
        // The caller is gone, and whether it was used is not known here yet: nobody else has it.
        assert_eq!(world.state().await, ApprovalState::Used);
        let (second, ()) = tokio::join!(world.begin(), async {
            world.store.used.notified().await;
            world.store.may_say.add_permits(2);
        });
        assert!(matches!(second, Err(ApprovalError::NotFound)));
        assert_eq!(world.settled().await, ApprovalState::Allowed);

        world.store.may_say.add_permits(1);
        world.begin().await.unwrap().sent();
        assert_eq!(world.settled().await, ApprovalState::Used);
    }

    #[tokio::test]
    async fn an_approval_is_given_back_unsent_and_never_after_its_command_was_sent() {
        let world = World::new().await;
        world.store.may_say.add_permits(3);
        let using = world.begin().await.unwrap();
        assert_eq!(using.decision, Decision::AllowOnce);
        assert_eq!(world.state().await, ApprovalState::Used);
        drop(using);
        assert_eq!(world.settled().await, ApprovalState::Allowed);
        world.begin().await.unwrap().sent();
        assert_eq!(world.settled().await, ApprovalState::Used);
        assert!(matches!(world.begin().await, Err(ApprovalError::NotFound)));
        assert_eq!(world.settled().await, ApprovalState::Used);
    }
}
