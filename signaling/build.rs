//! Rebuilds the crate when the pages change, as the embedding macro does not see new files.
//!
//! On a clean clone there are no pages yet; an empty folder in their place lets Cargo watch it.

fn main() {
    let dist = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../web/dist");
    // A failure shows itself: without the folder the server says that it has no pages.
    let _ = std::fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed=../web/dist");
}
