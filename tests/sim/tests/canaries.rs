//! Mistakes made on purpose stay out of what is flashed into Boxes. That they are caught is seen by `cargo xtask sim --canaries`.

use std::path::Path;
use std::process::{Command, Output};

use sim::Answer;

/// What the compiler says of the file of canaries alone: it needs nothing else.
fn compiled(with_assertions: bool) -> Answer<Output> {
    let scratch = tempfile::tempdir()?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/terms/canary.rs");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let assertions = if with_assertions { "on" } else { "off" };
    Ok(Command::new(compiler)
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
        ])
        .args(["--cfg", "feature=\"canaries\""])
        .arg(format!("-Cdebug-assertions={assertions}"))
        .arg("--out-dir")
        .arg(scratch.path())
        .arg(file)
        .output()?)
}

#[test]
fn a_build_for_boxes_cannot_contain_mistakes_made_on_purpose() -> Answer<()> {
    let for_a_box = compiled(false)?;
    let told = String::from_utf8_lossy(&for_a_box.stderr).into_owned();
    assert!(!for_a_box.status.success());
    assert!(told.contains("leave the feature `canaries` out"), "{told}");
    let for_the_simulation = compiled(true)?;
    let told = String::from_utf8_lossy(&for_the_simulation.stderr).into_owned();
    assert!(for_the_simulation.status.success(), "{told}");
    Ok(())
}
