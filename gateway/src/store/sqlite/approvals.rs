//! Approvals in SQL.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Db, StoreError, rows};
use crate::store::{Approval, ApprovalState, ApprovalStore, Inserted, PendingBounds};

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl ApprovalStore for Db {
    async fn insert(&self, approval: &Approval, bounds: PendingBounds) -> Result<Inserted> {
        let insert = sqlx::query(
            "INSERT INTO exec_approvals (id, state, plan, digest, request, device_id, created_at, \
             expires_at) SELECT $1, $2, $3, $4, $5, $6, $7, $8 \
             WHERE (SELECT COUNT(*) FROM exec_approvals WHERE state = 'pending' AND \
             expires_at > $7) < $9 AND (SELECT COUNT(*) FROM exec_approvals WHERE \
             state = 'pending' AND expires_at > $7 AND device_id IS $6) < $10 \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&approval.id)
        .bind(approval.state.as_str())
        .bind(&approval.plan)
        .bind(&approval.digest)
        .bind(&approval.request)
        .bind(&approval.device_id)
        .bind(approval.created_at)
        .bind(approval.expires_at)
        .bind(bounds.all)
        .bind(bounds.of_device);
        if self.change(insert).await? > 0 {
            return Ok(Inserted::Stored);
        }
        Ok(match ApprovalStore::get(self, &approval.id).await? {
            Some(_) => Inserted::IdUsed,
            None => Inserted::TooMany,
        })
    }

    async fn get(&self, id: &str) -> Result<Option<Approval>> {
        let one = sqlx::query("SELECT * FROM exec_approvals WHERE id = $1");
        self.one(one.bind(id), approval).await
    }

    async fn pending(&self, now: i64) -> Result<Vec<Approval>> {
        let waiting = sqlx::query(
            "SELECT * FROM exec_approvals WHERE state = 'pending' AND expires_at > $1 \
             ORDER BY created_at, id",
        );
        self.all(waiting.bind(now), approval).await
    }

    async fn resolve(
        &self,
        id: &str,
        state: ApprovalState,
        decision: Option<&str>,
        by: Option<&str>,
        now: i64,
    ) -> Result<Option<Approval>> {
        // Whoever says that its time is over is right at any time.
        let update = sqlx::query(
            "UPDATE exec_approvals SET state = $2, decision = $3, resolved_by = $4, \
             resolved_at = $5 WHERE id = $1 AND state = 'pending' \
             AND (expires_at > $5 OR $2 = 'expired') RETURNING *",
        )
        .bind(id)
        .bind(state.as_str())
        .bind(decision)
        .bind(by)
        .bind(now);
        self.change_one(update, approval).await
    }

    async fn consume(&self, id: &str, digest: &str, now: i64) -> Result<Option<Approval>> {
        let update = sqlx::query(
            "UPDATE exec_approvals SET state = 'used' WHERE id = $1 AND digest = $2 \
             AND state = 'allowed' AND expires_at > $3 RETURNING *",
        )
        .bind(id)
        .bind(digest)
        .bind(now);
        self.change_one(update, approval).await
    }

    async fn give_back(&self, id: &str, digest: &str) -> Result<()> {
        let update = sqlx::query(
            "UPDATE exec_approvals SET state = 'allowed' WHERE id = $1 AND digest = $2 \
             AND state = 'used'",
        );
        self.change(update.bind(id).bind(digest)).await?;
        Ok(())
    }

    async fn expire(&self, now: i64) -> Result<u64> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE exec_approvals SET state = 'expired', resolved_at = $1 \
             WHERE state IN ('pending', 'allowed') AND expires_at <= $1",
        )
        .bind(now)
        .execute(&mut *tx)
        .await;
        let result = done.map(|done| done.rows_affected());
        self.end(tx, result.map_err(StoreError::from)).await
    }

    async fn restart(&self, now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE exec_approvals SET state = 'restarted', decision = 'deny', \
             resolved_at = $1 WHERE state IN ('pending', 'allowed')",
        )
        .bind(now)
        .execute(&mut *tx)
        .await;
        self.end(tx, done.map(|_| ()).map_err(StoreError::from))
            .await
    }

    async fn prune(&self, before: i64, keep: i64) -> Result<u64> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "DELETE FROM exec_approvals WHERE state <> 'pending' AND (created_at < $1 OR id IN \
             (SELECT id FROM exec_approvals WHERE state <> 'pending' \
             ORDER BY created_at DESC, id LIMIT -1 OFFSET $2))",
        )
        .bind(before)
        .bind(keep)
        .execute(&mut *tx)
        .await;
        let result = done.map(|done| done.rows_affected());
        self.end(tx, result.map_err(StoreError::from)).await
    }
}

fn approval(row: &SqliteRow) -> Result<Approval> {
    let state: String = row.try_get("state")?;
    let state = ApprovalState::ALL
        .into_iter()
        .find(|known| known.as_str() == state)
        .ok_or_else(|| rows::bad("approval", format!("unknown state {state:?}")))?;
    Ok(Approval {
        id: row.try_get("id")?,
        state,
        plan: row.try_get("plan")?,
        digest: row.try_get("digest")?,
        request: row.try_get("request")?,
        device_id: row.try_get("device_id")?,
        decision: row.try_get("decision")?,
        resolved_by: row.try_get("resolved_by")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        resolved_at: row.try_get("resolved_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    const BOUNDS: PendingBounds = PendingBounds {
        all: 100,
        of_device: 100,
    };

    fn made(id: &str, state: ApprovalState, created_at: i64) -> Approval {
        Approval {
            id: id.into(),
            state,
            plan: "{}".into(),
            digest: "d".into(),
            request: "{}".into(),
            device_id: None,
            decision: None,
            resolved_by: None,
            created_at,
            expires_at: i64::MAX,
            resolved_at: None,
        }
    }

    #[tokio::test]
    async fn what_has_ended_is_bounded_and_what_waits_stays() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
        let approvals = store.approvals();
        for approval in [
            made("waits", ApprovalState::Pending, 1),
            made("old", ApprovalState::Denied, 2),
            made("used", ApprovalState::Used, 10),
            made("denied", ApprovalState::Denied, 11),
            made("allowed", ApprovalState::Allowed, 12),
            made("nobody", ApprovalState::NoRoute, 13),
        ] {
            let stored = approvals.insert(&approval, BOUNDS).await.unwrap();
            assert_eq!(stored, Inserted::Stored);
        }
        let known = async |id: &str| approvals.get(id).await.unwrap().is_some();
        assert_eq!(approvals.prune(5, 100).await.unwrap(), 1);
        assert!(!known("old").await);
        assert_eq!(approvals.prune(5, 2).await.unwrap(), 2);
        for (id, is_known) in [
            ("waits", true),
            ("used", false),
            ("denied", false),
            ("allowed", true),
            ("nobody", true),
        ] {
            assert_eq!(known(id).await, is_known, "{id}");
        }
    }

    #[tokio::test]
    async fn no_device_takes_the_room_of_the_others() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
        let approvals = store.approvals();
        let bounds = PendingBounds {
            all: 4,
            of_device: 2,
        };
        let (mine, yours) = (Some("mine"), Some("yours"));
        for (id, device, becomes) in [
            ("a", mine, Inserted::Stored),
            ("b", mine, Inserted::Stored),
            ("b", mine, Inserted::IdUsed),
            ("c", mine, Inserted::TooMany),
            ("d", yours, Inserted::Stored),
            ("e", None, Inserted::Stored),
            ("f", None, Inserted::TooMany),
            ("g", yours, Inserted::TooMany),
        ] {
            let approval = Approval {
                device_id: device.map(str::to_owned),
                ..made(id, ApprovalState::Pending, 1)
            };
            let became = approvals.insert(&approval, bounds).await.unwrap();
            assert_eq!(became, becomes, "{id}");
        }
        let denied = ApprovalState::Denied;
        approvals.resolve("a", denied, None, None, 2).await.unwrap();
        let again = Approval {
            device_id: Some("mine".to_owned()),
            ..made("c", ApprovalState::Pending, 3)
        };
        let became = approvals.insert(&again, bounds).await.unwrap();
        assert_eq!(became, Inserted::Stored);
    }

    #[tokio::test]
    async fn those_that_wait_are_found_without_reading_the_others() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("gateway.db")).await.unwrap();
        let sql = "EXPLAIN QUERY PLAN SELECT * FROM exec_approvals \
                   WHERE state = 'pending' AND expires_at > 1";
        let plan = sqlx::query(sql).fetch_one(&store.db.readers).await.unwrap();
        let detail: String = plan.try_get("detail").unwrap();
        assert!(detail.contains("exec_approvals_by_state"), "{detail}");
    }
}
