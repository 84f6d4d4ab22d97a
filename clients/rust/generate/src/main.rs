//! Writes the stubs of the crate from the schema, without protoc.
//!
//!     cargo run -p generate [DIRECTORY]
//!
//! The file `semserve.v1.rs` goes to the directory; left out: `src/stubs/` of the crate.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message as _;
use prost_types::FileDescriptorSet;
use protox::Compiler;
use protox::file::{ChainFileResolver, DescriptorSetFileResolver, GoogleFileResolver, IncludeFileResolver};

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = match std::env::args_os().nth(1) {
        Some(directory) => PathBuf::from(directory),
        None => here.join("../src/stubs"),
    };
    std::fs::create_dir_all(&target)?;
    generate(&here.join("../../../proto"), &target)
}

/// Compiles every file of the schema and writes the stubs of its one package.
fn generate(schema: &Path, target: &Path) -> Result<(), Box<dyn Error>> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(schema.to_path_buf()));
    resolver.add(GoogleFileResolver::new());
    resolver.add(DescriptorSetFileResolver::new(google_rpc()?));
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    let mut files: Vec<PathBuf> = std::fs::read_dir(schema.join("semserve/v1"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    compiler.open_files(&files)?;
    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .bytes(".semserve.v1.Embedding.packed") // vectors are read from the buffer of the answer
        .generate_default_stubs(true) // a server for tests need not have every method
        .emit_rerun_if_changed(false)
        .out_dir(target)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// `google/rpc/status.proto` as the crate tonic-types has it, under the name that the schema imports.
fn google_rpc() -> Result<FileDescriptorSet, Box<dyn Error>> {
    let mut set = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)?;
    for file in &mut set.file {
        if file.package() == "google.rpc" {
            file.name = Some(format!("google/rpc/{}", file.name()));
        }
    }
    Ok(set)
}
