use super::*;

const TEMPLATE_TEXT: &str = include_str!("../../../docs/adr/template.md");

fn record() -> String {
    TEMPLATE_TEXT.replacen("# N. ", "# 14. ", 1)
}

fn problems(name: &str, text: &str) -> Vec<String> {
    find_problems(name, text, TEMPLATE_TEXT)
}

#[test]
fn a_record_in_the_form_of_the_template_has_no_problem() {
    assert_eq!(
        problems("0014-a-decision.md", &record()),
        Vec::<String>::new()
    );
}

#[test]
fn each_heading_of_the_template_is_required_in_its_place() {
    for heading in fixed_headings(TEMPLATE_TEXT) {
        let without = record().replacen(&format!("{heading}\n"), "\n", 1);
        let found = problems("0014-a-decision.md", &without);
        assert!(!found.is_empty(), "without {heading}");
    }
    let swapped = record()
        .replacen("## Context", "## Elsewhere", 1)
        .replacen("## Decision", "## Context", 1)
        .replacen("## Elsewhere", "## Decision", 1);
    assert_eq!(problems("0014-a-decision.md", &swapped).len(), 1);
}

#[test]
fn one_of_the_first_eight_is_neither_short_nor_long() {
    let short = TEMPLATE_TEXT.replacen("# N. ", "# 3. ", 1);
    assert!(short.lines().count() < 100);
    assert_eq!(problems("0003-a-decision.md", &short).len(), 1);
    let filled = |lines| {
        short.replacen(
            "## Decision",
            &("word\n\n".repeat(lines) + "## Decision"),
            1,
        )
    };
    assert_eq!(
        problems("0003-a-decision.md", &filled(60)),
        Vec::<String>::new()
    );
    assert_eq!(problems("0003-a-decision.md", &filled(200)).len(), 1);
}

#[test]
fn a_name_fits_the_number_in_the_title() {
    for name in [
        "0015-a-decision.md",
        "14-a-decision.md",
        "new-0014-state.md",
    ] {
        assert_eq!(problems(name, &record()).len(), 1, "{name}");
    }
    for name in [
        "0014-.md",
        "0014-Desired.md",
        "0014.md",
        "0000-none.md",
        "+014-none.md",
    ] {
        assert_eq!(number(name), None, "{name}");
    }
    assert_eq!(number("0014-a-decision-2.md"), Some(14));
}

#[test]
fn each_alternative_says_what_decided() {
    for verdict in VERDICTS {
        let without = record().replacen(verdict, "- ", 1);
        assert_eq!(
            problems("0014-a-decision.md", &without).len(),
            1,
            "{verdict}"
        );
    }
    let renamed = record().replacen("### The first alternative", "### Another name", 1);
    assert!(problems("0014-a-decision.md", &renamed).is_empty());
}

#[test]
fn a_heading_without_text_is_a_problem() {
    let (start, _) = TEMPLATE_TEXT.split_once("## References").unwrap();
    let text = format!("{start}## References\n").replacen("# N. ", "# 14. ", 1);
    assert_eq!(problems("0014-a-decision.md", &text).len(), 1);
}

#[test]
fn a_folder_is_checked_whole() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(FOLDER);
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    fs::write(root.path().join("ARCHITECTURE.md"), "# Architecture\n").unwrap();
    write(TEMPLATE, TEMPLATE_TEXT);
    write(INDEX, "[14](0014-state.md)\n");
    write("0014-state.md", &record());
    check(root.path()).unwrap();

    write("0014-other.md", &record());
    write("0015-broken.md", "# 15. Nothing\n\n[gone](gone.md)\n");
    let error = check(root.path()).unwrap_err().to_string();
    for expected in [
        "0014-other.md: is not in README.md",
        "two records have the number 0014",
        "0015-broken.md: has the headings []",
        "0015-broken.md: the link to gone.md leads nowhere",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
