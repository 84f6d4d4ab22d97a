//! The stubs in the repository are those that the schema gives.

use std::path::Path;
use std::process::Command;

#[test]
fn stubs_are_those_of_the_schema() {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let ended = Command::new(env!("CARGO_BIN_EXE_generate")).arg(made).status();
    assert!(ended.is_ok_and(|status| status.success()));
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/stubs");
    let [kept, made] = [kept.as_path(), made]
        .map(|folder| std::fs::read_to_string(folder.join("semserve.v1.rs")).expect("the stubs can be read"));
    assert!(kept == made, "run `cargo run -p generate` in clients/rust");
}
