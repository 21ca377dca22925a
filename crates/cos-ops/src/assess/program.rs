//! Running a program of somebody else's: never longer than it may, and remembering the end of what it
//! said, however much that was.

use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::io::{self, PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of output that are remembered.
const REMEMBERED: usize = 16 * 1024;
/// How often a running program is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long output may follow the end of the program that began it.
const LATE: Duration = Duration::from_millis(500);

/// What came of a program.
#[derive(Debug)]
pub(super) struct Ended {
    /// How it ended; `None` when it took too long and was killed.
    pub status: Option<ExitStatus>,
    /// The end of what it wrote to standard output and error.
    pub output: String,
}

/// Runs a program without input, with everything it starts in a process group of its own.
pub(super) fn run(mut command: Command, limit: Duration) -> io::Result<Ended> {
    let (output, input) = io::pipe()?;
    let child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input)
        .spawn()?;
    // Its ends of the pipe must not keep the pipe open here.
    drop(command);
    let remembered = Arc::new(Mutex::new(VecDeque::new()));
    let (sender, drained) = mpsc::channel();
    let tail = Arc::clone(&remembered);
    thread::Builder::new()
        .name("output".into())
        .spawn(move || {
            drain(output, &tail);
            // Nobody waits for it any more when that took long.
            let _unheard = sender.send(());
        })?;
    let status = wait(child, limit)?;
    // A daemon that it left running may hold the pipe for good.
    let _late = drained.recv_timeout(LATE);
    let bytes: Vec<u8> = remembered
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .copied()
        .collect();
    Ok(Ended {
        status,
        output: String::from_utf8_lossy(&bytes).trim_end().to_owned(),
    })
}

fn drain(mut output: PipeReader, remembered: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; 4096];
    loop {
        match output.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                let mut tail = remembered.lock().unwrap_or_else(PoisonError::into_inner);
                tail.extend(&buffer[..read]);
                let excess = tail.len().saturating_sub(REMEMBERED);
                tail.drain(..excess);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn wait(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            kill_process_group(Pid::from_child(&child), Signal::KILL)?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cos_sys::tool::in_root;

    fn shell(script: &str, limit: Duration) -> Ended {
        let mut command = in_root(None, "sh");
        command.args(["-c", script]);
        run(command, limit).unwrap()
    }

    #[test]
    fn output_and_status_are_told() {
        let ended = shell("echo out; echo err >&2; exit 3", Duration::from_secs(20));
        assert_eq!(ended.status.unwrap().code(), Some(3));
        assert_eq!(ended.output, "out\nerr");
    }

    #[test]
    fn only_the_end_of_much_output_is_kept() {
        let ended = shell("yes | head -c 300000; echo end", Duration::from_secs(20));
        assert!(ended.output.ends_with("y\nend"));
        assert!(ended.output.len() <= REMEMBERED);
    }

    #[test]
    fn what_takes_too_long_is_killed_with_all_it_started() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("late");
        let script = format!(
            "echo begun; (sleep 2; echo > {}) & sleep 60",
            file.display()
        );
        let start = Instant::now();
        let ended = shell(&script, Duration::from_millis(300));
        assert!(ended.status.is_none() && start.elapsed() < Duration::from_secs(20));
        assert_eq!(ended.output, "begun");
        thread::sleep(Duration::from_millis(2500));
        assert!(!file.exists(), "something it started was left running");
    }

    #[test]
    fn a_daemon_left_behind_is_not_waited_for() {
        let start = Instant::now();
        let ended = shell("echo fine; sleep 30 &", Duration::from_secs(20));
        assert!(ended.status.unwrap().success());
        assert!(start.elapsed() < Duration::from_secs(15));
    }
}
