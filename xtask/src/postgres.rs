//! A Postgres for one test run: the one named by TEST_POSTGRES_URL, or a scratch cluster that is gone afterwards.

use crate::{process, system};
use anyhow::{Context, Result};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running Postgres; a scratch one is stopped and removed when this is dropped.
pub(crate) struct Postgres {
    /// How to reach it.
    pub(crate) url: String,
    cluster: Option<Cluster>,
}

struct Cluster {
    programs: PathBuf,
    /// In the folder for temporary files: the database's own user must reach it, and cannot reach into a home.
    folder: PathBuf,
}

impl Postgres {
    /// Finds or starts one.
    pub(crate) fn start() -> Result<Self> {
        if let Ok(url) = std::env::var("TEST_POSTGRES_URL") {
            return Ok(Self { url, cluster: None });
        }
        let folder = std::env::temp_dir().join(format!("diff-contrast-postgres-{}", std::process::id()));
        let cluster = Cluster { programs: programs()?, folder };
        let port = free_port()?;
        cluster.start(port)?;
        println!("    Postgres listens on 127.0.0.1:{port} until the tests end");
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
        .context("making a scratch Postgres cluster")?;
        // Tests need answers, not durability; a socket file could have too long a path.
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
            format!("starting Postgres, whose log says: {}", fs::read_to_string(&log).unwrap_or_default())
        })
    }

    fn stop(&self) {
        let stopped =
            process::capture(self.program("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(self.data()));
        if let Err(error) = stopped.and_then(|_| Ok(fs::remove_dir_all(&self.folder)?)) {
            eprintln!("the scratch Postgres in {} may still be there: {error:#}", self.folder.display());
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// One of its programs, run by a user it accepts: it refuses root.
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

/// The folder of the newest Postgres programs, installed if there is none.
fn programs() -> Result<PathBuf> {
    if let Some(folder) = installed() {
        return Ok(folder);
    }
    system::install(&["postgresql"], "the store's conformance suite")?;
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

/// A port nobody uses now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}
