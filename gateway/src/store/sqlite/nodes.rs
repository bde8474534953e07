//! Nodes and their requests in SQL.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Db, StoreError, rows};
use crate::store::{
    NewNodeRequest, Node, NodeFacts, NodeRequest, NodeStore, StoredRequest, Surface,
};

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl NodeStore for Db {
    async fn list(&self) -> Result<Vec<Node>> {
        let all = "SELECT * FROM nodes ORDER BY created_at DESC, node_id";
        self.all(sqlx::query(all), node).await
    }

    async fn get(&self, node_id: &str) -> Result<Option<Node>> {
        let one = sqlx::query("SELECT * FROM nodes WHERE node_id = $1");
        self.one(one.bind(node_id), node).await
    }

    async fn connected(&self, node_id: &str, facts: &NodeFacts, at: i64) -> Result<Node> {
        let mut tx = self.begin().await?;
        let result = upsert(&mut tx, node_id, facts, Change::Here, at).await;
        self.end(tx, result).await
    }

    async fn disconnected(&self, node_id: &str, host_stats: Option<&str>, at: i64) -> Result<()> {
        let update = sqlx::query(
            "UPDATE nodes SET last_disconnected_at = $2, host_stats = COALESCE($3, host_stats) \
             WHERE node_id = $1",
        );
        self.change(update.bind(node_id).bind(at).bind(host_stats))
            .await?;
        Ok(())
    }

    async fn approve_now(
        &self,
        node_id: &str,
        facts: &NodeFacts,
        surface: &Surface,
        at: i64,
    ) -> Result<Node> {
        let mut tx = self.begin().await?;
        let result = upsert(&mut tx, node_id, facts, Change::Approved(surface, None), at).await;
        self.end(tx, result).await
    }

    async fn requests(&self) -> Result<Vec<NodeRequest>> {
        let all = "SELECT * FROM node_requests ORDER BY created_at DESC, request_id";
        self.all(sqlx::query(all), request).await
    }

    async fn get_request(&self, request_id: &str) -> Result<Option<NodeRequest>> {
        let one = sqlx::query("SELECT * FROM node_requests WHERE request_id = $1");
        self.one(one.bind(request_id), request).await
    }

    async fn request(&self, new: NewNodeRequest) -> Result<StoredRequest> {
        let mut tx = self.begin().await?;
        let result = store(&mut tx, new).await;
        self.end(tx, result).await
    }

    async fn approve(
        &self,
        request_id: &str,
        token_hash: Option<&str>,
        at: i64,
    ) -> Result<Option<(NodeRequest, Node)>> {
        let mut tx = self.begin().await?;
        let result = async {
            let Some(request) = take(&mut tx, request_id).await? else {
                return Ok(None);
            };
            let change = Change::Approved(&request.asked, token_hash);
            let node = upsert(&mut tx, &request.node_id, &request.facts, change, at).await?;
            Ok(Some((request, node)))
        };
        let result = result.await;
        self.end(tx, result).await
    }

    async fn take_request(&self, request_id: &str) -> Result<Option<NodeRequest>> {
        let mut tx = self.begin().await?;
        let result = take(&mut tx, request_id).await;
        self.end(tx, result).await
    }

    async fn rename(&self, node_id: &str, name: &str) -> Result<bool> {
        let update = sqlx::query("UPDATE nodes SET given_name = $2 WHERE node_id = $1");
        let changed = self.change(update.bind(node_id).bind(name)).await?;
        Ok(changed > 0)
    }

    async fn remove(&self, node_id: &str) -> Result<bool> {
        let mut tx = self.begin().await?;
        let result = remove(&mut tx, node_id).await;
        self.end(tx, result).await
    }
}

/// What an upsert is for.
enum Change<'a> {
    Here,
    Approved(&'a Surface, Option<&'a str>),
}

async fn upsert(
    connection: &mut SqliteConnection,
    node_id: &str,
    facts: &NodeFacts,
    change: Change<'_>,
    at: i64,
) -> Result<Node> {
    let (here, approved, token_hash) = match change {
        Change::Here => (Some(at), None, None),
        Change::Approved(surface, hash) => (None, Some(rows::to_json("node", surface)?), hash),
    };
    let row = sqlx::query(
        "INSERT INTO nodes (node_id, display_name, platform, version, device_family, client_id, \
         client_mode, approved, approved_at, token_hash, created_at, last_connected_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $8 IS NULL THEN NULL ELSE $10 END, $9, \
         $10, $11) \
         ON CONFLICT (node_id) DO UPDATE SET display_name = excluded.display_name, \
         platform = excluded.platform, version = excluded.version, \
         device_family = excluded.device_family, client_id = excluded.client_id, \
         client_mode = excluded.client_mode, approved = COALESCE(excluded.approved, approved), \
         approved_at = COALESCE(excluded.approved_at, approved_at), \
         token_hash = COALESCE(excluded.token_hash, token_hash), \
         last_connected_at = COALESCE(excluded.last_connected_at, last_connected_at) \
         RETURNING *",
    )
    .bind(node_id)
    .bind(&facts.display_name)
    .bind(&facts.platform)
    .bind(&facts.version)
    .bind(&facts.device_family)
    .bind(&facts.client_id)
    .bind(&facts.client_mode)
    .bind(approved)
    .bind(token_hash)
    .bind(at)
    .bind(here)
    .fetch_one(connection)
    .await?;
    node(&row)
}

async fn store(connection: &mut SqliteConnection, new: NewNodeRequest) -> Result<StoredRequest> {
    let known = sqlx::query("SELECT * FROM node_requests WHERE node_id = $1")
        .bind(&new.node_id)
        .fetch_optional(&mut *connection)
        .await?;
    let known = known.as_ref().map(request).transpose()?;
    let mut replaced = None;
    if let Some(known) = known {
        if known.asked == new.asked && known.by_name == new.by_name {
            return Ok(StoredRequest {
                request: known,
                is_new: false,
                replaced,
            });
        }
        replaced = take(connection, &known.request_id)
            .await?
            .map(|old| old.request_id);
    }
    let facts = &new.facts;
    let row = sqlx::query(
        "INSERT INTO node_requests (request_id, node_id, display_name, platform, version, \
         device_family, client_id, client_mode, asked, silent, by_name, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING *",
    )
    .bind(uuid::Uuid::new_v4().to_string())
    .bind(&new.node_id)
    .bind(&facts.display_name)
    .bind(&facts.platform)
    .bind(&facts.version)
    .bind(&facts.device_family)
    .bind(&facts.client_id)
    .bind(&facts.client_mode)
    .bind(rows::to_json("node request", &new.asked)?)
    .bind(i64::from(new.silent))
    .bind(i64::from(new.by_name))
    .bind(new.at)
    .fetch_one(connection)
    .await?;
    Ok(StoredRequest {
        request: request(&row)?,
        is_new: true,
        replaced,
    })
}

async fn take(connection: &mut SqliteConnection, request_id: &str) -> Result<Option<NodeRequest>> {
    let row = sqlx::query("DELETE FROM node_requests WHERE request_id = $1 RETURNING *")
        .bind(request_id)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(request).transpose()
}

async fn remove(connection: &mut SqliteConnection, node_id: &str) -> Result<bool> {
    let mut gone = 0;
    for statement in [
        "DELETE FROM nodes WHERE node_id = $1",
        "DELETE FROM node_requests WHERE node_id = $1",
    ] {
        let done = sqlx::query(statement)
            .bind(node_id)
            .execute(&mut *connection)
            .await?;
        gone += done.rows_affected();
    }
    Ok(gone > 0)
}

fn facts(row: &SqliteRow) -> Result<NodeFacts> {
    Ok(NodeFacts {
        display_name: row.try_get("display_name")?,
        platform: row.try_get("platform")?,
        version: row.try_get("version")?,
        device_family: row.try_get("device_family")?,
        client_id: row.try_get("client_id")?,
        client_mode: row.try_get("client_mode")?,
    })
}

fn node(row: &SqliteRow) -> Result<Node> {
    let approved: Option<String> = row.try_get("approved")?;
    Ok(Node {
        node_id: row.try_get("node_id")?,
        facts: facts(row)?,
        given_name: row.try_get("given_name")?,
        approved: approved
            .map(|text| rows::from_json("node", text))
            .transpose()?,
        approved_at: row.try_get("approved_at")?,
        token_hash: row.try_get("token_hash")?,
        created_at: row.try_get("created_at")?,
        last_connected_at: row.try_get("last_connected_at")?,
        last_disconnected_at: row.try_get("last_disconnected_at")?,
        host_stats: row.try_get("host_stats")?,
    })
}

fn request(row: &SqliteRow) -> Result<NodeRequest> {
    Ok(NodeRequest {
        request_id: row.try_get("request_id")?,
        node_id: row.try_get("node_id")?,
        facts: facts(row)?,
        asked: rows::from_json("node request", row.try_get("asked")?)?,
        silent: row.try_get::<i64, _>("silent")? != 0,
        by_name: row.try_get::<i64, _>("by_name")? != 0,
        created_at: row.try_get("created_at")?,
    })
}
