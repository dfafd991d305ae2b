//! Relative links of Markdown pages.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The links of a page whose file, or whose heading in it, does not exist. Links to the web are
/// not followed.
pub(super) fn find_broken(page: &Path, text: &str) -> Vec<String> {
    let folder = page.parent().unwrap_or(Path::new(""));
    let mut broken = Vec::new();
    for link in links(text) {
        let (path, anchor) = match link.split_once('#') {
            Some((path, anchor)) => (path, Some(anchor)),
            None => (link, None),
        };
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let target = folder.join(path);
        if !path.is_empty() && !target.exists() {
            broken.push(format!("the link to {link} leads nowhere"));
            continue;
        }
        let Some(anchor) = anchor else { continue };
        let other = match path {
            "" => Some(text.to_owned()),
            _ if path.ends_with(".md") => fs::read_to_string(&target).ok(),
            _ => None,
        };
        if other.is_some_and(|other| !anchors(&other).iter().any(|known| known == anchor)) {
            broken.push(format!("the link to {link} names no heading"));
        }
    }
    broken
}

/// What stands in the parentheses of the links of a page.
fn links(text: &str) -> Vec<&str> {
    let lines = super::prose(text).map(|(_, line)| line);
    let mut links = Vec::new();
    for line in lines {
        // Every second part is code, in which nothing is a link.
        for part in line.split('`').step_by(2) {
            let ends = part.split("](").skip(1);
            links.extend(ends.filter_map(|rest| Some(rest.split_once(')')?.0)));
        }
        // A link whose text is code spans three parts: the middle one is code.
        let code_links = line.split("`](").skip(1);
        links.extend(code_links.filter_map(|rest| Some(rest.split_once(')')?.0)));
    }
    links.sort_unstable();
    links.dedup();
    links
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let headings = super::prose(text).filter_map(|(_, line)| {
        let rank = super::rank(line)?;
        Some(line[rank..].trim())
    });
    let anchor = |heading: &str| {
        let kept = heading.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        });
        kept.flat_map(char::to_lowercase).collect::<String>()
    };
    headings
        .map(|heading| {
            let anchor = anchor(heading);
            let count = seen.entry(anchor.clone()).or_default();
            *count += 1;
            match *count {
                1 => anchor,
                more => format!("{anchor}-{}", more - 1),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code() {
        let text = "See [a](a.md), [`b`](b.md#c) and `[x](x.md)`.\n\n```\n[y](y.md)\n```\n";
        assert_eq!(links(text), ["a.md", "b.md#c"]);
    }

    #[test]
    fn anchors_are_those_of_github() {
        let text = "# The hub /hubs/deployments\n\n## `[jwt]`\n\n## Why?\n\n## Why?\n";
        assert_eq!(
            anchors(text),
            ["the-hub-hubsdeployments", "jwt", "why", "why-1"]
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("other.md"), "# Here\n").unwrap();
        let page = folder.path().join("page.md");
        let text = "# Top\n[a](other.md) [b](other.md#here) [c](#top) [d](https://example.org/x)\n";
        assert!(find_broken(&page, text).is_empty());
        let text = "[a](gone.md) [b](other.md#there) [c](#top)\n";
        let broken = find_broken(&page, text);
        assert_eq!(broken.len(), 3, "{broken:?}");
    }
}
