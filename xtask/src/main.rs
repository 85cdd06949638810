//! One entry for a person: `cargo xtask run`, `cargo xtask test`, and what
//! they are made of.
//!
//! Progress goes to standard error, results to standard output.
#![forbid(unsafe_code)]
// `screen::print`: who reads may go.
#![deny(clippy::print_stdout)]

mod bench;
mod bogo;
mod budget;
mod build;
mod check;
mod config;
mod directed;
mod fuzz;
mod policy;
mod rotate;
mod run;
mod screen;
mod setup;
mod shell;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use image::workspace;

use screen::Screen;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  something failed: a build, a check, a test, the guest
  2  the arguments or the configuration are refused
  3  system packages are missing; the command that installs them is shown";

/// Builds, runs and tests Handoff, a TLS gateway of isolated services on seL4.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the image, boot it, and tell of each session until Ctrl-C.
    Run(run::Arguments),
    /// Run all tests, on this machine and against the booted image.
    Test(test::Arguments),
    /// Count the instructions of handshakes, bytes and calls in the guest.
    Bench(bench::Arguments),
    /// Run BoringSSL's protocol tests in both modes and roles.
    Bogo(bogo::Arguments),
    /// Feed every decoder random bytes, made from seeds by a fuzzer.
    Fuzz(fuzz::Arguments),
    /// Build kernel, image, bootable disc and manifest into a folder.
    Image(build::ImageArguments),
    /// Check a configuration; print an example, or what it can say.
    Config(config::Arguments),
    /// Build the seL4 kernel and show where it is.
    Kernel(build::KernelArguments),
    /// Replace key rings of a running system.
    Rotate(rotate::Arguments),
    /// Judge the capability policy: each assertion, and the shortest path that
    /// breaks it.
    Policy(policy::PolicyArguments),
    /// Draw domains, calls, rings, devices and secrets as SVG.
    Graph(policy::GraphArguments),
    /// Print the transitions of directed mode, or draw them as SVG.
    Directed(directed::Arguments),
    /// Check policy, format, lints, documentation, licences, and compare the figures that
    /// may only fall with their baseline.
    Check(check::Arguments),
    /// Install the system packages that are missing, or show the command.
    Setup,
    /// Print what a shell needs to complete these commands; with alias xtask="cargo xtask".
    Completions(shell::CompletionsArguments),
    /// Print the manual page, or write one for each command.
    Man(shell::ManArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let screen = Screen::new();
    let done = workspace::root().and_then(|workspace| match arguments.command {
        Task::Run(arguments) => run::run(&workspace, &screen, &arguments),
        Task::Test(arguments) => test::test(&workspace, &screen, &arguments),
        Task::Bench(arguments) => bench::bench(&workspace, &screen, &arguments),
        Task::Bogo(arguments) => bogo::bogo(&workspace, &screen, &arguments),
        Task::Fuzz(arguments) => fuzz::fuzz(&workspace, &screen, &arguments),
        Task::Image(arguments) => build::image(&workspace, &screen, &arguments),
        Task::Config(arguments) => config::config(&arguments),
        Task::Kernel(arguments) => build::kernel(&workspace, &screen, &arguments),
        Task::Rotate(arguments) => rotate::rotate(&workspace, &screen, &arguments),
        Task::Policy(arguments) => policy::policy(&workspace, &arguments),
        Task::Graph(arguments) => policy::graph(&workspace, &arguments),
        Task::Directed(arguments) => directed::directed(&arguments),
        Task::Check(arguments) => check::check(&workspace, &screen, &arguments),
        Task::Setup => setup::ensure(&screen, &setup::EVERYTHING),
        Task::Completions(arguments) => {
            shell::completions::<Arguments>(&arguments);
            Ok(())
        }
        Task::Man(arguments) => shell::man::<Arguments>(&arguments),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.failure(&format!("{error:#}"));
            ExitCode::from(code(&error))
        }
    }
}

fn code(error: &anyhow::Error) -> u8 {
    let is_refusal = error.is::<gateway_config::Problems>() || error.is::<run::Refused>();
    if is_refusal {
        2
    } else if error.is::<setup::Missing>() {
        3
    } else {
        1
    }
}
