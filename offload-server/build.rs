//! Writes what the system description gives this domain's program. The
//! library is built without it.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "guest")]
    image::generate::capabilities("offload-server")?;
    Ok(())
}
