//! Compiles the contracts without `protoc`, which a fresh machine does not have.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "rumi/v1/capabilities.proto",
        "rumi/v1/worker.proto",
        "rumi/v1/control.proto",
    ];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let encoded = descriptors.encode_to_vec();
    fs::write(out.join("descriptors.bin"), &encoded)?;
    // `bytes` fields share the buffer they arrived in instead of being copied.
    tonic_prost_build::configure()
        .bytes(".rumi.v1")
        .compile_fds(descriptors)?;
    // The Connect protocol's JSON form is the canonical proto3 JSON mapping.
    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .build(&[".rumi.v1"])?;
    Ok(())
}
