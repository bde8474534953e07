//! One statement by itself: a look, or a change in a transaction of its own.

use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};

use super::{Db, StoreError};

type Result<T> = std::result::Result<T, StoreError>;
type Statement<'a> = Query<'a, Sqlite, SqliteArguments>;

impl Db {
    /// Every row that a statement finds.
    pub(super) async fn all<T>(
        &self,
        statement: Statement<'_>,
        read: impl Fn(&SqliteRow) -> Result<T> + Send,
    ) -> Result<Vec<T>> {
        let found = statement.fetch_all(&self.readers).await;
        self.seen(found)?.iter().map(read).collect()
    }

    /// The row that a statement finds, if there is one.
    pub(super) async fn one<T>(
        &self,
        statement: Statement<'_>,
        read: impl Fn(&SqliteRow) -> Result<T> + Send,
    ) -> Result<Option<T>> {
        let found = statement.fetch_optional(&self.readers).await;
        self.seen(found)?.as_ref().map(read).transpose()
    }

    /// Carries a statement out; how many rows it changed.
    pub(super) async fn change(&self, statement: Statement<'_>) -> Result<u64> {
        let mut tx = self.begin().await?;
        let done = statement.execute(&mut *tx).await;
        let result = done.map(|done| done.rows_affected());
        self.end(tx, result.map_err(StoreError::from)).await
    }

    /// Carries a statement out; the rows that it returns.
    pub(super) async fn change_all<T: Send>(
        &self,
        statement: Statement<'_>,
        read: impl Fn(&SqliteRow) -> Result<T> + Send,
    ) -> Result<Vec<T>> {
        let mut tx = self.begin().await?;
        let done = statement.fetch_all(&mut *tx).await;
        let result = done
            .map_err(StoreError::from)
            .and_then(|rows| rows.iter().map(read).collect());
        self.end(tx, result).await
    }

    /// Carries a statement about one row out; that row, if it was there.
    pub(super) async fn change_one<T: Send>(
        &self,
        statement: Statement<'_>,
        read: impl Fn(&SqliteRow) -> Result<T> + Send,
    ) -> Result<Option<T>> {
        Ok(self.change_all(statement, read).await?.pop())
    }
}
