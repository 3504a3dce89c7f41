//! Embedded migrations are read when the crate is compiled: a new file must cause a new compilation.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
