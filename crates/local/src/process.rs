//! Processes of a server: the account it runs under, its watchdog, signals. Without `unsafe`.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// An account other than ours. PostgreSQL refuses to run as root, so root has to hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account to change to: `None` unless this process is root's, else `postgres`, else
    /// `nobody`.
    pub(super) fn unprivileged() -> io::Result<Option<Self>> {
        if id(&["-u"])? != 0 {
            return Ok(None);
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| {
                let (uid, gid) = (id(&["-u", name]).ok()?, id(&["-g", name]).ok()?);
                Some(Some(Self { uid, gid }))
            })
            .ok_or_else(|| io::Error::other("root, and no account \"postgres\" or \"nobody\""))
    }

    /// Runs the command under this account.
    pub(super) fn apply(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives a file or folder to this account.
    pub(super) fn give(self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }
}

/// Whether every account may pass through this folder and its parents.
pub(super) fn is_traversable_by_all(path: &Path) -> bool {
    path.ancestors().all(|dir| {
        dir.as_os_str().is_empty()
            || fs::metadata(dir).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
    })
}

/// A shell that outlives this process just long enough to end the server and remove its folder.
///
/// It waits at the other end of a pipe. The pipe closes when this process ends in whatever way,
/// also by SIGKILL, or as the last deed of a static value that Rust never drops. A server that is
/// dropped takes the same path, so there is only one way in which a server ends.
#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
    pipe: ChildStdin,
}

/// `$1` is the folder. Lines from the pipe: the number of the server's process (0: none), `stop`,
/// or `keep`. SIGQUIT is PostgreSQL's immediate shutdown; its last processes may still write for a
/// moment, so removing the folder may take more than one attempt.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
pid=0
while read -r line; do
  case $line in
    keep) exit 0 ;;
    stop) break ;;
    *) pid=$line ;;
  esac
done
if [ "$pid" != 0 ]; then
  kill -QUIT "$pid"
  tries=0
  while kill -0 "$pid" && [ "$tries" -lt 100 ]; do
    sleep 0.05
    tries=$((tries + 1))
  done
  kill -KILL "$pid"
fi 2>/dev/null
tries=0
until rm -rf -- "$1" || [ "$tries" -ge 20 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
"#;

impl Watchdog {
    /// Starts the watchdog over this folder.
    pub(super) fn start(folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            // A Ctrl-C at the terminal goes to our group; the watchdog is to survive it.
            .process_group(0)
            .spawn()?;
        let pipe = shell
            .stdin
            .take()
            .ok_or_else(|| io::Error::other("the watchdog has no pipe"))?;
        Ok(Self { shell, pipe })
    }

    /// Names the server's process; `None` while there is none.
    pub(super) fn watch(&mut self, pid: Option<u32>) -> io::Result<()> {
        writeln!(self.pipe, "{}", pid.unwrap_or(0))
    }

    /// Ends the server, whose process the caller reaps, and removes the folder.
    pub(super) fn stop(mut self, server: Option<&mut Child>) {
        // A word, not only the end of the pipe: should a process that was forked at the wrong
        // moment hold a copy of the pipe, its end would not be seen.
        let _ = writeln!(self.pipe, "stop");
        drop(self.pipe);
        if let Some(server) = server {
            let _ = server.wait();
        }
        let _ = self.shell.wait();
    }

    /// Leaves the server and its folder to the user.
    pub(super) fn keep(mut self) {
        let _ = writeln!(self.pipe, "keep");
        let _ = self.shell.wait();
    }
}

/// Sends a signal, such as `QUIT`, to each process; those that are gone already do not matter.
pub(super) fn signal(name: &str, pids: &[u32]) -> io::Result<()> {
    // The `kill` of the shell itself: the program of this name is not installed everywhere.
    Command::new("sh")
        .args([
            "-c",
            r#"s=$1; shift; for p; do kill -s "$s" "$p"; done"#,
            "signal",
            name,
        ])
        .args(pids.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
}

/// Whether a process has not ended; one that nobody has waited for has.
pub(super) fn is_running(pid: u32) -> bool {
    match fs::read_dir("/proc") {
        Ok(_) => fs::read_to_string(format!("/proc/{pid}/status"))
            .is_ok_and(|status| !status.lines().any(|line| line.starts_with("State:\tZ"))),
        // No /proc: macOS.
        Err(_) => Command::new("sh")
            .args(["-c", r#"kill -s 0 "$1""#, "running", &pid.to_string()])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success()),
    }
}

/// The processes whose parent is `pid`.
pub(super) fn children(pid: u32) -> io::Result<Vec<u32>> {
    let Ok(all) = fs::read_dir("/proc") else {
        // No /proc: macOS, which has pgrep.
        let output = Command::new("pgrep")
            .args(["-P", &pid.to_string()])
            .output()?;
        return Ok(String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect());
    };
    let parent = format!("PPid:\t{pid}");
    Ok(all
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|child| {
            fs::read_to_string(format!("/proc/{child}/status"))
                .is_ok_and(|status| status.lines().any(|line| line == parent))
        })
        .collect())
}

fn id(args: &[&str]) -> io::Result<u32> {
    let output = Command::new("id")
        .args(args)
        .stderr(Stdio::null())
        .output()?;
    String::from_utf8_lossy(&output.stdout)
        .trim()
        // macOS numbers its `nobody` -2, which is 4294967294 to the system.
        .parse::<i64>()
        .map(|number| number as u32)
        .map_err(|error| io::Error::other(format!("id {}: {error}", args.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_watchdog_ends_the_process_and_removes_the_folder() {
        let folder = tempfile::tempdir().unwrap().keep();
        fs::write(folder.join("file"), "x").unwrap();
        let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
        let mut watchdog = Watchdog::start(&folder).unwrap();
        watchdog.watch(Some(sleeper.id())).unwrap();
        watchdog.stop(Some(&mut sleeper));
        assert!(sleeper.try_wait().unwrap().is_some());
        assert!(!folder.exists());
    }

    #[test]
    fn a_process_that_ends_without_a_word_is_followed_by_its_servers() {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
        let mut watchdog = Watchdog::start(&folder).unwrap();
        watchdog.watch(Some(sleeper.id())).unwrap();
        // What the system does with our end of the pipe when we are killed.
        drop(watchdog.pipe);
        sleeper.wait().unwrap();
        watchdog.shell.wait().unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn a_kept_server_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut watchdog = Watchdog::start(folder.path()).unwrap();
        watchdog.watch(None).unwrap();
        watchdog.keep();
        assert!(folder.path().exists());
    }

    #[test]
    fn children_are_found() {
        let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
        assert!(
            children(std::process::id())
                .unwrap()
                .contains(&sleeper.id())
        );
        signal("KILL", &[sleeper.id()]).unwrap();
        assert!(!sleeper.wait().unwrap().success());
    }

    #[test]
    fn folders_of_one_user_are_not_traversable_by_all() {
        let private = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .unwrap();
        assert!(is_traversable_by_all(Path::new("/")));
        assert!(!is_traversable_by_all(private.path()));
    }
}
