//! Every command in README.md, `docs/*.md` and `examples/*/README.md` runs, with the exit code
//! that the guide documents.
//!
//! A guide's commands run in order, in a folder that looks like a checkout, beside a real
//! `hotswap dev`. [`Class`] says how each command is treated; [`NOT_RUN`] lists those that
//! cannot run in a test. Commands within a sentence are only parsed.

mod checkout;
mod class;
mod guide;
mod session;

use anyhow::{Context as _, Result, bail, ensure};

use crate::checkout::Checkout;
use crate::class::{Class, NOT_RUN};
use crate::guide::{Command, Guide, guides};
use crate::session::{DevEngine, Session};

#[tokio::test(flavor = "multi_thread")]
async fn guides_run_beside_hotswap_dev() -> Result<()> {
    let checkout = Checkout::new()?;
    let engine = DevEngine::start(&checkout).await?;
    for guide in guides()?.iter().filter(|guide| !guide.starts_nodes()) {
        if !guide
            .commands
            .iter()
            .any(|command| Class::of(command).is_ok_and(Class::runs))
        {
            continue;
        }
        engine.reset(&checkout).await?;
        let mut session = Session::beside(&checkout, guide, &engine)?;
        run(guide, &mut session).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn guides_that_start_nodes_run_with_an_engine_of_their_own() -> Result<()> {
    let guides = guides()?;
    let guides = guides.iter().filter(|guide| guide.starts_nodes());
    for guide in guides {
        let checkout = Checkout::new()?;
        let mut session = Session::alone(&checkout, guide)?;
        run(guide, &mut session).await?;
    }
    Ok(())
}

async fn run(guide: &Guide, session: &mut Session<'_>) -> Result<()> {
    for command in &guide.commands {
        let result = session.run(command).await;
        result.with_context(|| format!("{}: {}", guide.location(command), command.text))?;
    }
    Ok(())
}

#[test]
fn every_command_has_exactly_one_class() -> Result<()> {
    for guide in guides()? {
        for command in &guide.commands {
            Class::of(command).with_context(|| guide.location(command))?;
        }
    }
    Ok(())
}

#[test]
fn every_exception_is_a_command_of_a_guide() -> Result<()> {
    let guides = guides()?;
    let commands: Vec<&str> = guides
        .iter()
        .flat_map(|guide| &guide.commands)
        .map(|command| command.text.as_str())
        .collect();
    for (command, _) in NOT_RUN {
        ensure!(
            commands.contains(command),
            "no guide contains `{command}`: remove it from NOT_RUN"
        );
    }
    Ok(())
}

#[test]
fn cargo_xtask_has_every_task_that_a_guide_names() -> Result<()> {
    let checkout = Checkout::new()?;
    let tasks = checkout.xtask_tasks()?;
    for guide in guides()? {
        for command in guide.commands.iter().chain(&guide.mentions) {
            let Some(line) = command.text.strip_prefix("cargo xtask ") else {
                continue;
            };
            let (task, arguments) = line.split_once(' ').unwrap_or((line, ""));
            ensure!(
                tasks.iter().any(|known| known == task),
                "{}: `cargo xtask {task}` is not one of {tasks:?}",
                guide.location(command)
            );
            // `cargo xtask dev` passes its arguments on.
            if task == "dev" {
                parses(
                    &checkout,
                    &guide,
                    command,
                    &format!("hotswap dev {arguments}"),
                )?;
            }
        }
    }
    Ok(())
}

#[test]
fn commands_within_a_sentence_are_valid() -> Result<()> {
    let checkout = Checkout::new()?;
    for guide in guides()? {
        for command in &guide.mentions {
            // An ellipsis leaves out arguments that may be required.
            if command.text.starts_with("hotswap ") && !command.text.contains('…') {
                parses(&checkout, &guide, command, &command.text)?;
            }
        }
    }
    Ok(())
}

/// Parses a command line of `hotswap` without running it: `--help` comes last, so arguments
/// before it that are unknown are rejected first.
fn parses(checkout: &Checkout, guide: &Guide, command: &Command, line: &str) -> Result<()> {
    let output = checkout.blocking_shell(&format!("{line} --help"))?;
    if !output.status.success() {
        bail!(
            "{}: `{line}` is invalid: {}",
            guide.location(command),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
