//! The image of the `Dockerfile`, on a real node.

use std::process::Command;

use anyhow::Result;
use hotswap_tests::tools;

use crate::release::{Release, kubernetes, run};

const IMAGE: &str = "localhost/hotswap:dockerfile";

/// Builds the image from the program of the other tests, and gives it to the node. It says of itself
/// what the image of `cargo xtask image` says.
fn import_image() -> Result<()> {
    let (node, program) = (kubernetes()?, tools::hotswap()?);
    let script = tools::repository_root().join("tests/kubernetes/dockerfile-image.sh");
    let mut script = Command::new(script);
    script.arg(&node).arg(IMAGE);
    script.arg(program.as_std().get_program());
    run(script.arg(node.join("hotswap.tar")))?;
    Ok(())
}

#[test]
#[ignore = "needs a node: cargo xtask kubernetes"]
fn the_image_of_the_dockerfile_serves_as_that_of_the_task() -> Result<()> {
    import_image()?;
    let release = Release::install("dockerfile", "image: {tag: dockerfile}")?;
    let images = "jsonpath={.items[*].spec.containers[*].image}";
    let images = release.kubectl(&["get", "pods", "--output", images])?;
    // Of an engine and three nodes.
    let images: Vec<_> = images.split_whitespace().collect();
    assert_eq!(images, [IMAGE; 4]);
    release.helm(&["test", "hotswap"])?;
    release.deploy("1.0.0", "direct", &[])?;
    release.wait_for_versions("1.0.0", 3)
}
