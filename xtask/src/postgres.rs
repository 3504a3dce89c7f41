//! The Postgres of a test run: the server at TEST_POSTGRES_URL, or a temporary cluster.

use crate::{process, system};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running Postgres. Dropping it stops and removes a temporary cluster.
pub(crate) struct Postgres {
    /// Connection URL.
    pub(crate) url: String,
    cluster: Option<Cluster>,
}

struct Cluster {
    /// The folder with initdb and pg_ctl.
    programs: PathBuf,
    /// In the system's temporary folder: the user `postgres` must have access, and has none to home folders.
    folder: PathBuf,
}

impl Postgres {
    /// Uses TEST_POSTGRES_URL if it is set, or else starts a temporary cluster.
    pub(crate) fn start() -> Result<Self> {
        if let Ok(url) = std::env::var("TEST_POSTGRES_URL") {
            return Ok(Self { url, cluster: None });
        }
        let folder = std::env::temp_dir().join(format!("diff-contrast-postgres-{}", std::process::id()));
        let cluster = Cluster { programs: programs()?, folder };
        let port = system::free_port()?;
        cluster.start(port)?;
        println!("    a temporary Postgres listens on 127.0.0.1:{port}");
        Ok(Self { url: format!("postgres://postgres@127.0.0.1:{port}/postgres"), cluster: Some(cluster) })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(cluster) = &self.cluster {
            cluster.stop();
        }
    }
}

impl Cluster {
    fn start(&self, port: u16) -> Result<()> {
        let folder = &self.folder;
        fs::create_dir(folder).with_context(|| format!("creating {}", folder.display()))?;
        if system::is_root() {
            process::capture(Command::new("chown").arg("postgres").arg(folder))?;
        }
        let data = self.data();
        process::capture(
            self.program("initdb")
                .args([
                    "--auth=trust",
                    "--username=postgres",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--no-sync",
                    "-D",
                ])
                .arg(&data),
        )
        .context("creating a temporary Postgres cluster")?;
        // Tests need no durability. Unix sockets are off, since their paths have a length limit.
        let settings = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
             -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
        );
        let log = folder.join("log");
        process::capture(
            self.program("pg_ctl")
                .arg("start")
                .arg("-w")
                .arg("-D")
                .arg(&data)
                .arg("-l")
                .arg(&log)
                .arg("-o")
                .arg(settings),
        )
        .map(drop)
        .with_context(|| {
            format!("starting Postgres; its log: {}", fs::read_to_string(&log).unwrap_or_default())
        })
    }

    fn stop(&self) {
        let stopped =
            process::capture(self.program("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(self.data()));
        if let Err(error) = stopped.and_then(|_| Ok(fs::remove_dir_all(&self.folder)?)) {
            eprintln!("could not remove the temporary Postgres in {}: {error:#}", self.folder.display());
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A program of the cluster. Postgres refuses to run as root, so root runs it as the user `postgres`.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if system::is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(&self.folder);
        command
    }
}

/// The folder of the newest installed Postgres programs. Installs Postgres if there are none.
fn programs() -> Result<PathBuf> {
    if let Some(folder) = installed() {
        return Ok(folder);
    }
    system::install(&["postgresql"], "the database tests")?;
    installed().context("postgresql was installed but initdb is not in /usr/lib/postgresql")
}

fn installed() -> Option<PathBuf> {
    let version = |folder: &Path| folder.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|folder| folder.join("initdb").is_file())
        .max_by_key(|folder| version(folder));
    debian.or_else(|| system::find("initdb")?.parent().map(Path::to_path_buf))
}
