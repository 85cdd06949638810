//! The build script of every domain (`build` in its `Cargo.toml`): writes what the system
//! description gives its program. The library is built without it.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // No file of the package is read.
    println!("cargo::rerun-if-env-changed=CARGO_PKG_NAME");
    #[cfg(feature = "guest")]
    image::generate::capabilities(&std::env::var("CARGO_PKG_NAME")?)?;
    Ok(())
}
