//! A schema of the test Postgres for one test.

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};

/// A schema that a test has for itself.
pub(crate) struct Schema {
    /// Connection URL of the schema.
    pub(crate) url: String,
    name: String,
    operator: PgPool,
}

impl Schema {
    pub(crate) async fn create() -> Self {
        let server = std::env::var("TEST_POSTGRES_URL").expect(
            "TEST_POSTGRES_URL is not set: run `cargo xtask test --only trainer`, which starts a Postgres and sets it",
        );
        let operator =
            PgPoolOptions::new().max_connections(1).connect(&server).await.expect("the test Postgres");
        let name = format!("test_trainer_{}", std::process::id());
        for statement in [format!("DROP SCHEMA IF EXISTS {name} CASCADE"), format!("CREATE SCHEMA {name}")] {
            sqlx::query(AssertSqlSafe(statement)).execute(&operator).await.expect("a schema");
        }
        let sign = if server.contains('?') { '&' } else { '?' };
        Self { url: format!("{server}{sign}options=-c%20search_path%3D{name}"), name, operator }
    }

    pub(crate) async fn remove(self) {
        let statement = format!("DROP SCHEMA {} CASCADE", self.name);
        sqlx::query(AssertSqlSafe(statement)).execute(&self.operator).await.expect("dropped");
    }
}
