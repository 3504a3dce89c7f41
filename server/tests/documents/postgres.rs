//! A database of its own on the Postgres of the test run.

use std::process::Command;

/// Dropping it removes the database.
pub(crate) struct Database {
    /// URL of the server's own database, from which others are created.
    server: String,
    pub(crate) name: String,
}

impl Database {
    /// A name that no database of the server has yet. The page that is followed creates it.
    pub(crate) fn absent() -> Self {
        let server = std::env::var("TEST_POSTGRES_URL").expect(
            "TEST_POSTGRES_URL is not set: run `cargo xtask test`, which starts a Postgres and sets it",
        );
        Self { server, name: format!("documents_{}", std::process::id()) }
    }

    /// The URL of a database on the server.
    pub(crate) fn url(&self, database: &str) -> String {
        let (address, options) = self.server.split_once('?').unwrap_or((&self.server, ""));
        let (host, _) = address.rsplit_once('/').expect("a URL with a database");
        let sign = if options.is_empty() { "" } else { "?" };
        format!("{host}/{database}{sign}{options}")
    }

    /// The server's own URL.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for name in [self.name.clone(), format!("{}_restored", self.name)] {
            let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            let dropped = Command::new("psql").args(["-qX", "-d", &self.server, "-c", &sql]).status();
            if !dropped.is_ok_and(|status| status.success()) {
                eprintln!("could not remove the database {name}");
            }
        }
    }
}
