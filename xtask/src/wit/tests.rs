use std::fs;

use super::*;

const RELEASED: &str = "
/// Docs.
package hotswap:strategy@0.1.0;

/// Docs.
@since(version = 0.1.0)
interface types {
    /// Docs.
    @since(version = 0.1.0)
    type duration = u64;
    /// Docs.
    @since(version = 0.1.0)
    record node {
        /// Docs.
        id: string,
        /// Docs.
        zone: option<string>,
    }
    /// Docs.
    @since(version = 0.1.0)
    enum level {
        /// Docs.
        info,
    }
    /// Docs.
    @since(version = 0.1.0)
    variant failure {
        /// Docs.
        refused(string),
        /// Docs.
        gone,
    }
}

/// Docs.
@since(version = 0.1.0)
interface fleet {
    use types.{node};
    /// Docs.
    @since(version = 0.1.0)
    nodes: func() -> list<node>;
    /// Docs.
    @since(version = 0.1.0)
    stage: func(nodes: list<string>) -> result<_, string>;
}

/// Docs.
@since(version = 0.1.0)
interface clock {
    /// Docs.
    @since(version = 0.1.0)
    now: func() -> u64;
}

/// Docs.
@since(version = 0.1.0)
world strategy {
    import fleet;
    export run: func() -> result<_, string>;
}
";

fn parse(source: &str) -> (Resolve, PackageId) {
    let mut resolve = Resolve {
        all_features: true,
        ..Resolve::default()
    };
    let package = resolve.push_str("contract.wit", source).unwrap();
    (resolve, package)
}

fn normal_form(source: &str) -> NormalForm {
    let (resolve, package) = parse(source);
    NormalForm::new(&resolve, package)
}

/// The changes that are reported when `from` is replaced by `to` in the released contract.
fn describe_changes(from: &str, to: &str) -> Vec<String> {
    assert!(RELEASED.contains(from), "the contract has no {from}");
    normal_form(RELEASED).describe_changes(&normal_form(&RELEASED.replacen(from, to, 1)))
}

#[test]
fn changes_that_break_guests_are_named() {
    let cases = [
        (
            "type duration = u64",
            "type duration = u32",
            "`types/duration` was released as `type u64` and is now `type u32`",
        ),
        (
            "stage: func(nodes",
            "put: func(nodes",
            "`fleet/stage` was removed",
        ),
        (
            "stage: func(nodes",
            "stage: func(names",
            "`fleet/stage` was released as `func(nodes: list<string>) -> result<_, string>` and is now `func(names:",
        ),
        (
            "result<_, string>;\n}\n\n/// Docs.\n@since(version = 0.1.0)\ninterface clock",
            "result<u8, string>;\n}\n\n/// Docs.\n@since(version = 0.1.0)\ninterface clock",
            "`fleet/stage` was released as",
        ),
        (
            "nodes: func()",
            "nodes: func(all: bool)",
            "`fleet/nodes` was released as `func() ->",
        ),
        (
            "zone: option<string>,",
            "zone: string,",
            "`types/node` was released as `record { id: string, zone: option<string> }` and is now `record { id: string, zone: string }`",
        ),
        (
            "zone: option<string>,",
            "zone: option<string>,\n /// Docs.\n rack: u8,",
            "`types/node` was released as",
        ),
        (
            "info,",
            "info,\n /// Docs.\n warn,",
            "`types/level` was released as `enum { info }` and is now `enum { info, warn }`",
        ),
        (
            "gone,",
            "gone(u8),",
            "`types/failure` was released as `variant { refused(string), gone }` and is now `variant { refused(string), gone(u8) }`",
        ),
        (
            "import fleet;",
            "import fleet;\n import clock;",
            "`strategy/import/hotswap:strategy/clock@0.1.0` was added",
        ),
        (
            "import fleet;",
            "import fleet;\n import random: func() -> u64;",
            "`strategy/import/random` was added",
        ),
        (
            "export run: func()",
            "export run: func(plan: string)",
            "`strategy/export/run` was released as",
        ),
        (
            "use types.{node};",
            "use types.{node as machine};\n record node {}",
            "`fleet/node` was released as",
        ),
        (
            "package hotswap:strategy@0.1.0",
            "package hotswap:strategy@0.1.1",
            "`package` was released as",
        ),
    ];
    for (from, to, expected) in cases {
        let changes = describe_changes(from, to);
        assert!(
            changes.iter().any(|change| change.contains(expected)),
            "{from} → {to} gave {changes:#?}"
        );
        assert!(
            changes
                .iter()
                .all(|change| change.contains("create a new version folder")),
            "{changes:#?}"
        );
    }
}

#[test]
fn documentation_comments_and_order_may_change() {
    let cases = [
        ("/// Docs.", "/// Other docs."),
        (
            "    import fleet;\n    export",
            "    import fleet;\n    // A comment.\n    export",
        ),
        ("variant failure", "/* A comment. */ variant failure"),
    ];
    for (from, to) in cases {
        assert_eq!(describe_changes(from, to), [""; 0], "{from} → {to}");
    }
    let nodes = "nodes: func() -> list<node>;";
    let stage = "stage: func(nodes: list<string>) -> result<_, string>;";
    let swapped = RELEASED
        .replace(nodes, "#")
        .replace(stage, nodes)
        .replace('#', stage);
    assert_ne!(swapped, RELEASED);
    assert_eq!(normal_form(RELEASED), normal_form(&swapped));
}

#[test]
fn a_record_is_parsed_as_it_was_written() {
    let written = normal_form(RELEASED);
    assert_eq!(NormalForm::parse(&written.to_string()).unwrap(), written);
    assert!(NormalForm::parse("no equals sign").is_err());
}

#[test]
fn items_without_docs_or_since_are_named() {
    let cases = [
        (
            "/// Docs.\npackage",
            "package",
            "`package` lacks a doc comment",
        ),
        (
            "/// Docs.\n@since(version = 0.1.0)\ninterface fleet",
            "@since(version = 0.1.0)\ninterface fleet",
            "`fleet` lacks a doc comment",
        ),
        (
            "@since(version = 0.1.0)\ninterface clock",
            "interface clock",
            "`clock` lacks @since",
        ),
        (
            "@since(version = 0.1.0)\n    record",
            "record",
            "`types/node` lacks @since",
        ),
        (
            "/// Docs.\n        zone",
            "zone",
            "`types/node/zone` lacks a doc comment",
        ),
        (
            "/// Docs.\n        info",
            "info",
            "`types/level/info` lacks a doc comment",
        ),
        (
            "/// Docs.\n        gone",
            "gone",
            "`types/failure/gone` lacks a doc comment",
        ),
        (
            "@since(version = 0.1.0)\n    now",
            "@unstable(feature = new)\n    now",
            "`clock/now` lacks @since",
        ),
        (
            "@since(version = 0.1.0)\nworld",
            "world",
            "`strategy` lacks @since",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(RELEASED.contains(from), "the contract has no {from}");
        let (resolve, package) = parse(&RELEASED.replacen(from, to, 1));
        let found = documentation::find_undocumented_items(&resolve, package);
        assert!(
            found.iter().any(|text| text == expected),
            "{from} → {to} gave {found:#?}"
        );
    }
    let (resolve, package) = parse(RELEASED);
    assert_eq!(
        documentation::find_undocumented_items(&resolve, package),
        [
            "`strategy/run` lacks a doc comment",
            "`strategy/run` lacks @since"
        ]
    );
}

#[test]
fn a_release_is_recorded_once_and_must_not_change() {
    let wit = std::env::temp_dir().join(format!("hotswap-wit-{}", std::process::id()));
    let folder = wit.join("strategy/0.1.0");
    let _ = fs::remove_dir_all(&wit);
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("strategy.wit");
    let source = RELEASED.replace(
        "export run",
        "/// Docs.\n @since(version = 0.1.0)\n export run",
    );
    fs::write(&file, &source).unwrap();

    check(&wit).expect("an unreleased contract must only be documented");
    let missing = release(&wit, "strategy", "0.2.0").unwrap_err().to_string();
    assert!(
        missing.contains("there is no wit/strategy/0.2.0"),
        "{missing}"
    );
    release(&wit, "strategy", "0.1.0").unwrap();
    check(&wit).expect("nothing has changed");
    let again = release(&wit, "strategy", "0.1.0").unwrap_err().to_string();
    assert!(again.contains("already released"), "{again}");

    fs::write(&file, source.replace("now: func", "then: func")).unwrap();
    let changed = check(&wit).unwrap_err().to_string();
    assert!(
        changed.contains("wit/strategy/0.1.0: `clock/now` was removed"),
        "{changed}"
    );

    fs::remove_dir_all(&folder).unwrap();
    let gone = check(&wit).unwrap_err().to_string();
    assert!(gone.contains("its folder is missing"), "{gone}");
    fs::remove_dir_all(&wit).unwrap();
}

#[test]
fn the_contracts_of_this_repository_have_no_problems() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).unwrap();
}
