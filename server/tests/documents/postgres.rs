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
    pub(crate) fn absent(purpose: &str) -> Self {
        let server = std::env::var("TEST_POSTGRES_URL").expect(
            "TEST_POSTGRES_URL is not set: run `cargo xtask test`, which starts a Postgres and sets it",
        );
        Self { server, name: format!("documents_{purpose}_{}", std::process::id()) }
    }

    /// A new, empty database.
    pub(crate) fn create(purpose: &str) -> Self {
        let database = Self::absent(purpose);
        let created = psql(&database.server, &format!("CREATE DATABASE {}", database.name));
        assert!(created, "cannot create the database {}", database.name);
        database
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
            if !psql(&self.server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")) {
                eprintln!("could not remove the database {name}");
            }
        }
    }
}

/// Runs a statement; whether it succeeded.
fn psql(url: &str, sql: &str) -> bool {
    // Notices, such as of a database that does not exist, are left out.
    let mut command = Command::new("psql");
    command.env("PGOPTIONS", "-c client_min_messages=warning").args(["-qX", "-d", url, "-c", sql]);
    command.status().is_ok_and(|status| status.success())
}
