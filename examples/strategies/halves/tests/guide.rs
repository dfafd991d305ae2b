//! The strategy guide shows this example, letter by letter.

const GUIDE: &str = include_str!("../../../../docs/STRATEGY_GUIDE.md");

#[test]
fn the_guide_shows_the_code_as_it_is() {
    for (name, code) in [
        ("src/lib.rs", include_str!("../src/lib.rs")),
        ("src/tests.rs", include_str!("../src/tests.rs")),
        ("src/schema.json", include_str!("../src/schema.json")),
    ] {
        let shown = blocks(GUIDE).any(|block| block == code);
        assert!(
            shown,
            "docs/STRATEGY_GUIDE.md does not show {name} as it is: copy it anew"
        );
    }
}

/// What stands between fences, without the fences.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split("```")
        .skip(1)
        .step_by(2)
        .map(|block| block.split_once('\n').map_or("", |(_, code)| code))
}
