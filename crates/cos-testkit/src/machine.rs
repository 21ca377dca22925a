//! A machine under QEMU, driven over its first serial port.
//!
//! Software emulation of an x86-64 PC with two processors. The media it is given are never
//! changed: disks are opened through an overlay that goes away with the machine. Everything the
//! serial port says is kept in `target/machines/NAME/serial.log`.

mod builder;
mod console;
mod escape;
mod tpm;

pub use builder::{Builder, Firmware};

use crate::process;
use anyhow::{Context, bail};
use console::Console;
use fs_err as fs;
use regex_lite::Regex;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tpm::Tpm;

/// How long a boot to a login may take on a loaded two-core host.
pub const BOOT: Duration = Duration::from_mins(7);

/// How long one command on the console may take unless told otherwise.
pub const COMMAND: Duration = Duration::from_mins(2);

/// How long a shutdown may take.
const SHUTDOWN: Duration = Duration::from_mins(3);

/// How often the console's shell is asked whether it is there.
const KNOCK: Duration = Duration::from_secs(5);

/// What a login shell is told first: no echo, no prompt, no line editor, and no kernel or systemd
/// messages between the lines. The quotes keep the typed text from matching what it prints.
const PREPARE_SHELL: &[&str] = &[
    "stty -echo cols 1000; export PS1= PS2= PROMPT_COMMAND= TERM=dumb; exec bash --norc --noediting",
    "stty -echo; dmesg -n 1; kill -s RTMIN+21 1; echo C'OS'-READY",
];

/// What a command on the machine's console came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it wrote, standard output and error together, without the final newline.
    pub output: String,
}

/// A running machine. It is stopped hard when dropped.
#[derive(Debug)]
pub struct Machine {
    directory: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    overlays: Vec<PathBuf>,
    child: Child,
    console: Console,
    turn: u32,
    tpm: Option<Tpm>,
}

impl Machine {
    /// Describes a machine; `name` names its directory under `target/machines`.
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    fn start(
        directory: PathBuf,
        program: PathBuf,
        arguments: Vec<String>,
        overlays: Vec<PathBuf>,
        mut tpm: Option<Tpm>,
    ) -> anyhow::Result<Machine> {
        if let Some(tpm) = &mut tpm {
            tpm.start()?;
        }
        let (child, console) = spawn(&directory, &program, &arguments)?;
        Ok(Machine {
            directory,
            program,
            arguments,
            overlays,
            child,
            console,
            turn: 0,
            tpm,
        })
    }

    /// Where everything that the serial port said is kept.
    pub fn log(&self) -> PathBuf {
        self.directory.join("serial.log")
    }

    /// Waits until the console has said something that matches the regular expression `pattern`,
    /// and returns all it said from the last match to the end of this one. Escape sequences and
    /// carriage returns are left out. Fails after `timeout`, or at once when the machine has ended.
    pub fn expect(&mut self, pattern: &str, timeout: Duration) -> anyhow::Result<String> {
        let regex = Regex::new(pattern).with_context(|| format!("bad pattern {pattern}"))?;
        self.console
            .expect(&regex, timeout)
            .with_context(|| format!("machine {}", self.log().display()))
    }

    /// Types a line on the console.
    pub fn send_line(&mut self, line: &str) -> anyhow::Result<()> {
        self.console.send(&format!("{line}\n"))
    }

    /// Waits for the automatic login of a test image and takes over its shell. Returns what the
    /// console said until then.
    pub fn login(&mut self, timeout: Duration) -> anyhow::Result<String> {
        let boot = self.expect(r"\(automatic login\)", timeout)?;
        self.take_shell()?;
        Ok(boot)
    }

    /// Logs in by name and password, as a person would, and takes over the shell.
    pub fn login_as(
        &mut self,
        user: &str,
        password: &str,
        timeout: Duration,
    ) -> anyhow::Result<String> {
        let boot = self.expect("login: ", timeout)?;
        self.send_line(user)?;
        self.expect("Password: ", COMMAND)?;
        self.send_line(password)?;
        self.take_shell()?;
        Ok(boot)
    }

    /// A login discards what was typed while it was at work, so ask until the shell answers.
    fn take_shell(&mut self) -> anyhow::Result<()> {
        let ready = Regex::new("COS-READY").context("bad pattern")?;
        let deadline = Instant::now() + COMMAND;
        loop {
            for line in PREPARE_SHELL {
                self.send_line(line)?;
            }
            match self.console.expect(&ready, KNOCK) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context("no shell after the login"));
                }
                Err(_) => {}
            }
        }
    }

    /// Runs a command in the console's shell, after [`Machine::login`].
    pub fn run(&mut self, command: &str) -> anyhow::Result<Ran> {
        self.run_for(command, COMMAND)
    }

    /// Runs a command that may take as long as `timeout`.
    pub fn run_for(&mut self, command: &str, timeout: Duration) -> anyhow::Result<Ran> {
        self.turn += 1;
        let turn = self.turn;
        self.send_line(&format!(
            "echo C'OS'-BEGIN-{turn}; ( {command}\n) </dev/null 2>&1; code=$?; echo; echo C'OS'-END-{turn}-$code-"
        ))?;
        self.expect(&format!("COS-BEGIN-{turn}\n"), timeout)
            .with_context(|| format!("command `{command}`"))?;
        let said = self
            .expect(&format!(r"COS-END-{turn}-\d+-"), timeout)
            .with_context(|| format!("command `{command}`"))?;
        let (output, end) = said
            .rsplit_once("COS-END-")
            .context("the end marker was matched")?;
        let code = end
            .trim_end_matches('-')
            .rsplit('-')
            .next()
            .unwrap_or_default();
        Ok(Ran {
            code: code.parse().with_context(|| format!("exit code {code}"))?,
            output: output.trim_end_matches('\n').to_owned(),
        })
    }

    /// Runs a command that must succeed, and returns what it wrote.
    pub fn check(&mut self, command: &str) -> anyhow::Result<String> {
        let ran = self.run(command)?;
        if ran.code != 0 {
            bail!(
                "`{command}` on the machine exited with {}:\n{}",
                ran.code,
                ran.output
            );
        }
        Ok(ran.output)
    }

    /// Reboots through systemd. The next [`Machine::login`] is that of the new boot.
    pub fn reboot(&mut self) -> anyhow::Result<()> {
        self.send_line("systemctl reboot")?;
        self.expect("reboot: Restarting system|Rebooting", SHUTDOWN)
            .map(drop)
    }

    /// Shuts down through systemd and waits for the machine to end.
    pub fn power_off(mut self) -> anyhow::Result<()> {
        self.send_line("systemctl poweroff")?;
        self.wait_for_end(SHUTDOWN)
    }

    /// Waits for the machine to end by itself.
    pub fn wait_for_end(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        while self
            .child
            .try_wait()
            .context("cannot wait for QEMU")?
            .is_none()
        {
            if Instant::now() > deadline {
                bail!(
                    "the machine did not end within {timeout:?}; it said last:\n{}",
                    self.console.tail()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Cuts the power, then switches the machine on again with its disks as they were left.
    pub fn power_cycle(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        if let Some(tpm) = &mut self.tpm {
            tpm.start()?;
        }
        let (child, console) = spawn(&self.directory, &self.program, &self.arguments)?;
        self.child = child;
        self.console = console;
        Ok(())
    }

    /// Cuts the power and switches on again with another TPM, as if the disks were in another machine.
    pub fn power_cycle_with_tpm(&mut self, state: &Path) -> anyhow::Result<()> {
        let tpm = self.tpm.as_mut().context("the machine has no TPM")?;
        tpm.replace(state);
        self.power_cycle()
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        if self
            .child
            .try_wait()
            .context("cannot wait for QEMU")?
            .is_none()
        {
            self.child.kill().context("cannot stop QEMU")?;
            self.child.wait().context("cannot wait for QEMU")?;
        }
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if let Err(error) = self.kill() {
            eprintln!("{error:#}");
        }
        if failed {
            eprintln!(
                "the end of {}:\n{}",
                self.log().display(),
                self.console.tail()
            );
        }
        for overlay in &self.overlays {
            if let Err(error) = fs::remove_file(overlay) {
                eprintln!("{error:#}");
            }
        }
    }
}

fn spawn(
    directory: &Path,
    program: &Path,
    arguments: &[String],
) -> anyhow::Result<(Child, Console)> {
    let complaints = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("qemu.log"))?
        .into_file();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(complaints);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run `{}`", process::display(&command)))?;
    let input = child.stdin.take().context("QEMU has a standard input")?;
    let output = child.stdout.take().context("QEMU has a standard output")?;
    let console = Console::attach(input, output, &directory.join("serial.log"))?;
    Ok((child, console))
}
