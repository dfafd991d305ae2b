//! Checks the architecture decision records in `docs/adr`: their names, their headings, the
//! index, the benches that they name, the figures that need one, and every relative link of the
//! documentation.

mod benches;
mod figures;
mod links;
#[cfg(test)]
mod tests;

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Their folder, from the root of the repository.
const FOLDER: &str = "docs/adr";
const TEMPLATE: &str = "template.md";
const INDEX: &str = "README.md";
/// What each alternative says.
const VERDICTS: [&str; 3] = ["- **Pros:** ", "- **Cons:** ", "- **Why not:** "];
const ALTERNATIVES: &str = "## Alternatives considered";
/// The records that everything stands on, and how many lines each has: shorter ones leave out what was
/// weighed, and nobody reads longer ones.
const FOUNDATIONS: RangeInclusive<u32> = 1..=8;
const FOUNDATION_LINES: RangeInclusive<usize> = 100..=300;

/// Checks all records, and the links of all pages.
///
/// # Errors
/// Lists all problems, each with its file.
pub fn check(root: &Path) -> Result<()> {
    let folder = root.join(FOLDER);
    let template = read(&folder.join(TEMPLATE))?;
    let index = read(&folder.join(INDEX))?;
    let benches = benches::of_workspace(root)?;
    let mut problems = Vec::new();
    let mut numbers = Vec::new();
    for path in pages(&folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if [TEMPLATE, INDEX].contains(&&*name) {
            continue;
        }
        let text = read(&path)?;
        let mut found = find_problems(&name, &text, &template);
        found.extend(figures::without_bench(&text));
        if !index.contains(&format!("({name})")) {
            found.push(format!("is not in {INDEX}: add it"));
        }
        numbers.push(name.chars().take(4).collect::<String>());
        problems.extend(found.iter().map(|text| format!("{FOLDER}/{name}: {text}")));
    }
    for pair in numbers.windows(2).filter(|pair| pair[0] == pair[1]) {
        problems.push(format!("{FOLDER}: two records have the number {}", pair[0]));
    }
    for page in documentation(root)? {
        let name = page.strip_prefix(root).unwrap_or(&page).display();
        let text = read(&page)?;
        let mut found = links::find_broken(&page, &text);
        found.extend(benches::find_missing(&text, &benches));
        problems.extend(found.iter().map(|text| format!("{name}: {text}")));
    }
    ensure!(
        problems.is_empty(),
        "the decision records or links have problems:\n  {}",
        problems.join("\n  ")
    );
    Ok(())
}

/// What is wrong with a record, but for its links.
fn find_problems(name: &str, text: &str, template: &str) -> Vec<String> {
    let mut problems = Vec::new();
    match number(name) {
        Some(number) if text.starts_with(&format!("# {number}. ")) => {}
        Some(number) => problems.push(format!(
            "begin it with `# {number}. ` and the decision, as its name says"
        )),
        None => problems.push("name it NNNN-a-few-words.md, in lower case".to_owned()),
    }
    let (expected, headings) = (fixed_headings(template), fixed_headings(text));
    if headings != expected {
        problems.push(format!(
            "has the headings {headings:?}; those of {TEMPLATE} are {expected:?}"
        ));
    }
    for section in sections(text) {
        if section.body.trim().is_empty() {
            problems.push(format!("has nothing below `{}`", section.heading));
        }
    }
    let lines = text.lines().count();
    let is_foundation = number(name).is_some_and(|number| FOUNDATIONS.contains(&number));
    if is_foundation && !FOUNDATION_LINES.contains(&lines) {
        problems.push(format!(
            "has {lines} lines; the first eight have {FOUNDATION_LINES:?}"
        ));
    }
    let alternatives = alternatives(text);
    if alternatives.is_empty() {
        problems.push(format!("names no alternative below `{ALTERNATIVES}`"));
    }
    for alternative in alternatives {
        let says = |verdict: &&str| {
            alternative
                .body
                .lines()
                .any(|line| line.starts_with(verdict))
        };
        for missing in VERDICTS.iter().filter(|verdict| !says(verdict)) {
            problems.push(format!(
                "`{}` has no line that begins with `{missing}`",
                alternative.heading
            ));
        }
    }
    problems
}

/// The number of a record with this name, if it is a valid one.
fn number(name: &str) -> Option<u32> {
    let (digits, words) = name.strip_suffix(".md")?.split_once('-')?;
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let is_valid = digits.len() == 4
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && words.split('-').all(is_word);
    let number = digits.parse().ok()?;
    (is_valid && number > 0).then_some(number)
}

/// A heading, and the text up to the next one of the same rank or a higher one.
struct Section<'a> {
    heading: &'a str,
    body: &'a str,
}

/// The lines outside of code blocks, each with the offset at which it begins.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut offset, mut is_code) = (0, false);
    text.split_inclusive('\n').filter_map(move |line| {
        let start = offset;
        offset += line.len();
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then(|| (start, line.trim_end()))
    })
}

fn rank(line: &str) -> Option<usize> {
    let rank = line.bytes().take_while(|byte| *byte == b'#').count();
    ((1..=6).contains(&rank) && line[rank..].starts_with(' ')).then_some(rank)
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let headings = prose(text).filter_map(|(start, line)| Some((start, line, rank(line)?)));
    let headings: Vec<_> = headings.collect();
    let mut sections = Vec::new();
    for (index, &(start, heading, rank)) in headings.iter().enumerate() {
        let mut later = headings[index + 1..].iter();
        let next = later.find(|(_, _, other)| *other <= rank);
        let end = next.map_or(text.len(), |(start, ..)| *start);
        let body = &text[start + heading.len()..end];
        sections.push(Section { heading, body });
    }
    sections
}

/// The headings that each record has: all of the second rank, and those of the third but for
/// what the alternatives are called.
fn fixed_headings(text: &str) -> Vec<&str> {
    let mut above = "";
    let mut headings = Vec::new();
    for (_, line) in prose(text) {
        match rank(line) {
            Some(2) => above = line,
            Some(3) if above != ALTERNATIVES => {}
            _ => continue,
        }
        headings.push(line);
    }
    headings
}

fn alternatives(text: &str) -> Vec<Section<'_>> {
    let all = sections(text);
    let all = all.iter().find(|section| section.heading == ALTERNATIVES);
    let inner = all.map(|section| sections(section.body));
    inner.unwrap_or_default()
}

/// All pages that link to records, or that records link to.
fn documentation(root: &Path) -> Result<Vec<PathBuf>> {
    let mut all = pages(root)?;
    all.extend(pages(&root.join("docs"))?);
    all.extend(pages(&root.join(FOLDER))?);
    Ok(all)
}

/// The Markdown files of a folder, sorted.
fn pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder);
    let entries = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    Ok(paths)
}

/// The folders in a folder, but for hidden ones and what is built.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder);
    let entries = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_dir() && !name.starts_with('.') && !["target", "node_modules"].contains(&&*name)
    });
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
