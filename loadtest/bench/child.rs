//! One child process: started on its cores, its output kept in files, ended by its own id.
//!
//! Output goes to files and not to pipes, so that nobody has to read while the child runs and a child that writes
//! much never waits for us.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::affinity;

/// A running process of ours; it ends when this is dropped.
#[derive(Debug)]
pub struct Child {
    process: Process,
    name: String,
    command_line: String,
    output: PathBuf,
    complaints: PathBuf,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// What it is called in messages and file names.
    pub name: &'a str,
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Added to our environment.
    pub env: Vec<(String, String)>,
    /// The cores it may use.
    pub cores: &'a [usize],
    /// Where its output files go.
    pub folder: &'a Path,
}

impl Spec<'_> {
    /// The line that starts the same by hand.
    pub fn command_line(&self) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let program = quoted(&self.program.to_string_lossy());
        let cores: Vec<String> = self.cores.iter().map(ToString::to_string).collect();
        let pinned = ["taskset".to_owned(), "-c".to_owned(), cores.join(",")];
        let words =
            env.chain(pinned).chain([program]).chain(self.arguments.iter().map(|argument| quoted(argument)));
        words.collect::<Vec<_>>().join(" ")
    }
}

impl Child {
    /// Starts the process on its cores.
    ///
    /// # Errors
    /// When a file cannot be made, or the program is not there.
    pub fn start(spec: &Spec<'_>) -> anyhow::Result<Self> {
        let file = |kind: &str| spec.folder.join(format!("{}.{kind}", spec.name));
        let (output, complaints) = (file("out"), file("err"));
        let mut command = Command::new(spec.program);
        command
            .args(&spec.arguments)
            .envs(spec.env.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))))
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(&complaints)?);
        let process = affinity::on_cores(spec.cores, move || {
            // A child takes over which signals are blocked too, and must be able to end.
            SigSet::all().thread_unblock()?;
            command.spawn()
        })?
        .with_context(|| format!("cannot start {}", spec.command_line()))?;
        Ok(Self {
            process,
            name: spec.name.to_owned(),
            command_line: spec.command_line(),
            output,
            complaints,
        })
    }

    /// Asks it to end by SIGTERM, waits up to `patience`, then kills it.
    ///
    /// # Errors
    /// When it had to be killed, or cannot be waited for.
    pub fn end(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        if let Some(status) = self.process.try_wait()? {
            return Ok(status);
        }
        kill(self.signal_target()?, Signal::SIGTERM).context("cannot ask a child to end")?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            thread::sleep(LOOK_INTERVAL);
        }
        self.process.kill()?;
        self.process.wait()?;
        anyhow::bail!("{} did not end within {patience:?} of SIGTERM", self.name)
    }

    /// Its exit status once it has ended.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Complains with its last words if it has ended.
    ///
    /// # Errors
    /// When it has ended.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        let ended = self.ended()?;
        ensure!(
            ended.is_none(),
            "{} ended early ({}): {}\n  {}",
            self.name,
            ended.unwrap_or_default(),
            self.last_words(),
            self.command_line
        );
        Ok(())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The line that starts the same by hand.
    pub fn command_line(&self) -> &str {
        &self.command_line
    }

    /// The last JSON object on its stdout.
    ///
    /// # Errors
    /// When there is none: its last words on stderr are in the message.
    pub fn report(&self) -> anyhow::Result<serde_json::Value> {
        let text = fs::read_to_string(&self.output)?;
        let object = text.lines().rev().find_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).ok().filter(serde_json::Value::is_object)
        });
        object.with_context(|| {
            format!("{} gave no report: {}\n  {}", self.name, self.last_words(), self.command_line)
        })
    }

    /// The end of its stderr.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.complaints).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LAST_WORDS_LINES)..).unwrap_or_default();
        if last.is_empty() { "it said nothing".to_owned() } else { last.join(" | ") }
    }

    fn signal_target(&self) -> anyhow::Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.pid())?))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nothing is left to report to; an orphan that loads the machine would spoil the next run.
        let _ = self.end(DROP_PATIENCE);
    }
}

/// A word of a shell line.
pub fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,%@+{}".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

const LOOK_INTERVAL: Duration = Duration::from_millis(20);
const DROP_PATIENCE: Duration = Duration::from_secs(3);
const LAST_WORDS_LINES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// `sh -c script`, in a folder of its own.
    fn shell(name: &str, script: &str) -> (Child, PathBuf) {
        let folder = std::env::temp_dir().join(format!("nearcast-child-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let spec = Spec {
            name,
            program: Path::new("/bin/sh"),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            env: vec![("ANSWER".to_owned(), "42".to_owned())],
            cores: &affinity::allowed().unwrap(),
            folder: &folder,
        };
        (Child::start(&spec).unwrap(), folder)
    }

    #[test]
    fn the_report_is_the_last_object_on_stdout() {
        let (mut child, folder) =
            shell("report", r#"echo starting; echo '{"old": 1}'; echo "{\"answer\": $ANSWER}"; echo 7"#);

        while child.ended().unwrap().is_none() {
            thread::yield_now();
        }

        assert_eq!(child.report().unwrap(), serde_json::json!({"answer": 42}));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_child_that_ended_early_is_quoted() {
        let (mut child, folder) = shell("early", "echo no such room >&2; exit 3");

        while child.ended().unwrap().is_none() {
            thread::yield_now();
        }

        let complaint = child.must_run().unwrap_err().to_string();
        assert!(complaint.contains("no such room") && complaint.contains("exit status: 3"), "{complaint}");
        assert!(child.report().unwrap_err().to_string().contains("no such room"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_child_that_ignores_sigterm_is_killed_and_told_of() {
        let (mut child, folder) = shell("stubborn", "trap '' TERM; echo ready; while :; do :; done");
        while fs::read_to_string(folder.join("stubborn.out")).unwrap().is_empty() {
            thread::yield_now();
        }

        assert!(child.end(Duration::from_millis(50)).is_err());

        assert!(child.ended().unwrap().is_some());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_child_ends_by_sigterm_though_this_thread_blocks_it() {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.thread_block().unwrap();
        let (mut child, folder) = shell("asked", "exec sleep 60");

        assert!(child.end(Duration::from_secs(5)).is_ok());

        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let spec = Spec {
            name: "x",
            program: Path::new("/a/whep"),
            arguments: vec!["--url".to_owned(), "http://h:1/r?a&b".to_owned(), "it's".to_owned()],
            env: vec![("A__B".to_owned(), "1 2".to_owned())],
            cores: &[0, 1],
            folder: Path::new("/tmp"),
        };

        assert_eq!(
            spec.command_line(),
            r"A__B='1 2' taskset -c 0,1 /a/whep --url 'http://h:1/r?a&b' 'it'\''s'"
        );
    }
}
