//! Reads the commands of the guides.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::tools;
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// A page of the documentation.
#[derive(Debug)]
pub struct Guide {
    /// The path in the repository.
    pub path: PathBuf,
    /// The commands of its code blocks, in order.
    pub commands: Vec<Command>,
    /// The commands within its sentences: code spans that begin like a command of ours.
    pub mentions: Vec<Command>,
}

/// A command line, with the lines that continue it.
#[derive(Debug)]
pub struct Command {
    /// The command as the guide has it.
    pub text: String,
    /// The number of its first line in the guide.
    pub line: usize,
    /// The output that the guide shows below it, in a `text` block.
    pub output: Option<String>,
}

impl Guide {
    /// Where a command stands: `docs/install.md:12`.
    pub fn location(&self, command: &Command) -> String {
        format!("{}:{}", self.path.display(), command.line)
    }

    /// Whether it tells how to run nodes, and so needs an engine without any.
    pub fn starts_nodes(&self) -> bool {
        let mut commands = self.commands.iter();
        commands.any(|command| command.text.starts_with("hotswap node run"))
    }

    fn parse(path: PathBuf, text: &str) -> Self {
        let line_of = |offset: usize| text[..offset].matches('\n').count() + 1;
        let mut commands: Vec<Command> = Vec::new();
        let mut lines: Vec<(usize, String)> = Vec::new();
        let mut mentions = Vec::new();
        let mut block = Block::Other;
        for (event, range) in Parser::new(text).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => block = Block::of(&kind),
                Event::End(TagEnd::CodeBlock) => {
                    commands.extend(join_lines(std::mem::take(&mut lines)));
                    block = Block::Other;
                }
                Event::Text(text) if block == Block::Output => {
                    if let Some(command) = commands.last_mut() {
                        command.output.get_or_insert_default().push_str(&text);
                    }
                }
                Event::Text(code) if block == Block::Shell => {
                    let first = line_of(range.start);
                    let code = code.lines().enumerate();
                    lines.extend(code.map(|(index, line)| (first + index, line.to_owned())));
                }
                Event::Code(code) => {
                    let is_ours = ["hotswap ", "cargo xtask "]
                        .iter()
                        .any(|start| code.starts_with(start));
                    if is_ours {
                        mentions.push(Command {
                            text: code.to_string(),
                            line: line_of(range.start),
                            output: None,
                        });
                    }
                }
                _ => {}
            }
        }
        Self {
            path,
            commands,
            mentions,
        }
    }
}

/// All guides, in the order of their paths. Generated pages are left out: a test of the
/// generator covers them.
///
/// # Errors
/// Where a guide cannot be read, or there are none.
pub fn guides() -> Result<Vec<Guide>> {
    let root = tools::repository_root();
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
        .map(PathBuf::from)
        .into();
    paths.extend(pages(&root, Path::new("docs"))?);
    paths.extend(pages(&root, Path::new("examples"))?);
    for entry in fs::read_dir(root.join("examples"))? {
        let folder = Path::new("examples").join(entry?.file_name());
        if root.join(&folder).join("README.md").is_file() {
            paths.push(folder.join("README.md"));
        }
    }
    paths.sort();
    // Its commands need a cluster: the tests that `cargo xtask kubernetes` runs read it.
    paths.retain(|path| path != Path::new("docs/KUBERNETES.md"));
    let mut guides = Vec::new();
    for path in paths {
        let text = fs::read_to_string(root.join(&path));
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        if !text.starts_with("<!-- Generated") {
            guides.push(Guide::parse(path, &text));
        }
    }
    let commands: usize = guides.iter().map(|guide| guide.commands.len()).sum();
    ensure!(commands > 0, "no command in {} guides", guides.len());
    Ok(guides)
}

fn pages(root: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root.join(folder))?;
    let names = entries.map(|entry| Ok(folder.join(entry?.file_name())));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.extension().is_some_and(|extension| extension == "md"));
    Ok(names)
}

/// What a code block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Shell,
    Output,
    Other,
}

impl Block {
    fn of(kind: &CodeBlockKind<'_>) -> Self {
        match kind {
            CodeBlockKind::Indented => Self::Shell,
            CodeBlockKind::Fenced(language) => match &**language {
                "" | "sh" | "bash" => Self::Shell,
                "text" => Self::Output,
                _ => Self::Other,
            },
        }
    }
}

/// Joins lines that end with a backslash; drops blank lines and comments.
fn join_lines(lines: Vec<(usize, String)>) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut continues = false;
    for (number, text) in lines {
        let text = text.trim();
        let (text, is_continued) = match text.strip_suffix('\\') {
            Some(text) => (text.trim_end(), true),
            None => (text, false),
        };
        match commands.last_mut() {
            Some(command) if continues => {
                command.text.push(' ');
                command.text.push_str(text);
            }
            _ if text.is_empty() || text.starts_with('#') => {}
            _ => commands.push(Command {
                text: text.to_owned(),
                line: number,
                output: None,
            }),
        }
        continues = is_continued;
    }
    commands
}

#[test]
fn commands_are_read_from_shell_blocks_with_their_lines() {
    let text = "Run `hotswap dev`:\n\n    first \\\n      --flag\n    # why\n\n```sh\nsecond\n```\n\n\
                ```text\ndone\n```\n\n```json\n{}\n```\n\n- item\n\n```\nthird\n```\n";
    let guide = Guide::parse("guide.md".into(), text);
    let commands: Vec<_> = guide
        .commands
        .iter()
        .map(|command| (command.text.as_str(), command.line))
        .collect();
    assert_eq!(
        commands,
        [("first --flag", 3), ("second", 8), ("third", 22)]
    );
    assert_eq!(guide.commands[1].output.as_deref(), Some("done\n"));
    assert_eq!(guide.mentions[0].text, "hotswap dev");
}
