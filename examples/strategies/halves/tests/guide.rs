//! The strategy guide contains the code of this example verbatim.

const GUIDE: &str = include_str!("../../../../docs/STRATEGY_GUIDE.md");

#[test]
fn guide_contains_the_code_verbatim() {
    for (name, code) in [
        ("src/lib.rs", include_str!("../src/lib.rs")),
        ("src/tests.rs", include_str!("../src/tests.rs")),
        ("src/schema.json", include_str!("../src/schema.json")),
    ] {
        let shown = blocks(GUIDE).any(|block| block == code);
        assert!(
            shown,
            "docs/STRATEGY_GUIDE.md does not contain {name} verbatim: copy the file into the guide"
        );
    }
}

/// The contents of the fenced code blocks.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split("```")
        .skip(1)
        .step_by(2)
        .map(|block| block.split_once('\n').map_or("", |(_, code)| code))
}
