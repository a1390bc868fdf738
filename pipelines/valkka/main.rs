//! `valkka`: spawns, supervises and shows camera pipelines that share frames between processes.
//!
//! It is the frontend of every process and touches no frame itself. This file parses, dispatches, prints and exits;
//! [`run`] tells what happens in between.

mod camera;
mod cli;
mod config;
mod crew;
mod demand;
mod demo;
mod desk;
mod health;
mod log;
mod mask;
mod pipeline;
mod plan;
mod process;
mod recording;
mod requirements;
mod restream;
mod rtsp_server;
mod run;
mod runtime_dir;
mod status;
mod supervisor;
mod template;
mod verbs;
mod watch;
mod web;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
use config::LogFormat;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("valkka: {}", mask::mask(&told(&error)));
            verbs::exit_code(&error).into()
        }
    }
}

/// An error with its causes, each once: some errors tell their cause themselves.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        before if before.contains(&cause) => told,
        before => format!("{before}: {cause}"),
    })
}

fn dispatch(Cli { command, verbose, run }: Cli) -> Result<()> {
    // A run logs as its configuration says.
    if !matches!(command, Command::Run(_)) {
        log::init(verbose, LogFormat::Text);
    }
    let run = run.as_deref();
    match command {
        Command::Run(options) => {
            let config = options.config()?;
            log::init(verbose, config.log_format);
            asynchronously(run::run(config, options.page.open))
        }
        Command::Check { config } => verbs::file::check(config),
        Command::Init { file } => verbs::file::init(&file),
        Command::Schema => verbs::file::schema(),
        Command::Template(options) => verbs::template::template(&options),
        Command::Remote(command) => asynchronously(verbs::remote(&command, run)),
        Command::Doctor { config } => asynchronously(verbs::doctor(config)),
        Command::Restream(options) => restream::serve(&options),
        Command::Demo(options) => asynchronously(demo::demo(options)),
        Command::Pipeline(options) => pipeline::run(&options.origin()),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "valkka", &mut std::io::stdout());
            Ok(())
        }
        Command::Exec { preparation, command } => {
            let (program, args) = command.split_first().expect("clap requires one");
            Err(process::exec::exec(preparation, program, args)).with_context(|| program.display().to_string())
        }
        Command::RtspServer(options) => demo::serve(&options),
    }
}

/// Two threads are plenty: they pass on bytes and wait.
fn asynchronously(task: impl Future<Output = Result<()>>) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().context("no thread can be started")?.block_on(task)
}
