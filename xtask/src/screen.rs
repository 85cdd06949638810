//! What a person sees: steps with their progress, failures, colour.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";
const START_OF_LINE: &str = "\r\x1b[K";

/// How often the time of a step is redrawn.
const TICK: Duration = Duration::from_secs(1);

/// Standard error, as it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    terminal: bool,
    colour: bool,
}

/// `NO_COLOR` (no-color.org) is not set.
pub(crate) fn colour_is_wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints to standard output. Who reads it may have seen enough (`… | head`): then there is
/// nothing more to do, and the exit code is the one that a shell gives for SIGPIPE.
pub(crate) fn print(what: impl Display) {
    let mut output = io::stdout().lock();
    let printed = write!(output, "{what}").and_then(|()| output.flush());
    match printed {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(141),
        Err(error) => {
            eprintln!("error: standard output: {error}");
            process::exit(1)
        }
    }
}

/// The same, with the end of a line.
pub(crate) fn print_line(what: impl Display) {
    print(format_args!("{what}\n"));
}

impl Screen {
    /// Colour only on a terminal, and not with `NO_COLOR` (no-color.org).
    pub(crate) fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            terminal,
            colour: terminal && colour_is_wanted(),
        }
    }

    /// Announces a step that shows its own progress.
    pub(crate) fn step(&self, what: &str) {
        eprintln!("{}", self.painted(BOLD, &format!("xtask: {what}")));
    }

    /// Something that a person should know.
    pub(crate) fn note(&self, what: &str) {
        eprintln!("xtask: {what}");
    }

    /// What went wrong.
    pub(crate) fn failure(&self, what: &str) {
        eprintln!("{} {what}", self.painted(RED, "error:"));
    }

    /// Does quiet work; on a terminal the seconds are counted meanwhile.
    pub(crate) fn during<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        if !self.terminal {
            self.step(what);
            return work();
        }
        let what = self.painted(BOLD, &format!("xtask: {what}"));
        let (stop, stopped) = channel::<()>();
        let result = thread::scope(|scope| {
            scope.spawn({
                let what = &what;
                move || {
                    loop {
                        let seconds = started.elapsed().as_secs();
                        eprint!("{START_OF_LINE}{what} {seconds} s");
                        let _ = io::stderr().flush();
                        if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                            break;
                        }
                    }
                }
            });
            let result = work();
            drop(stop);
            result
        });
        let seconds = started.elapsed().as_secs_f32();
        eprintln!("{START_OF_LINE}{what} {seconds:.1} s");
        result
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.colour {
            format!("{colour}{text}{PLAIN}")
        } else {
            text.to_string()
        }
    }
}
