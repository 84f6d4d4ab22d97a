#!/bin/sh
# Builds and runs one program that uses the crate, such as one of README.md.
#
#   program.sh FILE.rs
set -eu

crate=$(cd "$(dirname "$0")" && pwd)
folder=$crate/../../.cache/clients/rust-program
mkdir -p "$folder/src"
cp "$1" "$folder/src/main.rs"
cp "$crate/Cargo.lock" "$folder/Cargo.lock" # the same versions, which are built already
cat >"$folder/Cargo.toml" <<END
[package]
name = "program"
edition = "2024"

[dependencies]
futures-util = { version = "0.3", default-features = false, features = ["std"] }
semserve = { path = "$crate" }
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }

[workspace]
END
CARGO_TARGET_DIR=$folder/../rust cargo run --quiet --manifest-path "$folder/Cargo.toml"
