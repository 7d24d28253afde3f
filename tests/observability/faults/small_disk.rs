//! A small private disk: a tmpfs in a user and mount namespace, which needs no root.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use observability_tests::program::{Program, Start, executable};
use observability_tests::wait;
use tempfile::TempDir;

/// A tmpfs in the namespaces of a holder process.
pub(super) struct SmallDisk {
    holder: Program,
    /// Mount point within the namespaces.
    pub(super) folder: TempDir,
    /// Path of the mount from outside.
    pub(super) root: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of this size.
    #[track_caller]
    pub(super) fn new(kib: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={kib}k,nr_inodes=1000");
        let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && echo mounted && exec sleep 100000";
        let mut holder = Start::at(Path::new("/usr/bin/env"))
            .args(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", &options])
            .arg(folder.path())
            .start();
        wait::until("the small disk is mounted", || {
            assert!(
                holder.has_ended().is_none(),
                "this test mounts a tmpfs in a user and mount namespace, which this kernel or container forbids \
                 (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, or a seccomp \
                 profile): {}",
                holder.stderr()
            );
            holder.stdout().contains("mounted").then_some(())
        });
        let path = folder.path().strip_prefix("/").unwrap();
        let root = Path::new("/proc").join(holder.pid().as_raw_nonzero().to_string()).join("root").join(path);
        Self { holder, folder, root }
    }

    /// Runs a program within the namespaces. SQLite needs it, because it resolves the link `/proc/PID/root`.
    pub(super) fn enter(&self, program: &str) -> Start {
        let target = self.holder.pid().as_raw_nonzero().to_string();
        Start::at(Path::new("/usr/bin/env"))
            .args(["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &target, "--"])
            .arg(executable(program))
    }

    /// Fills the disk completely.
    pub(super) fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.root.join("ballast")).unwrap();
        for piece in [vec![0; 64 * 1024], vec![0; 1]] {
            let is_full = (0..1_000_000).any(|_| ballast.write_all(&piece).is_err());
            assert!(is_full, "the disk cannot be filled");
        }
    }

    /// Keeps the disk full for this time, even if files are removed.
    pub(super) fn keep_full(&self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.fill();
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Frees the disk.
    pub(super) fn free(&self) {
        fs::remove_file(self.root.join("ballast")).unwrap();
    }
}
