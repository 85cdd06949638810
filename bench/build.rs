//! Writes what the system description gives the measuring domain.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "guest")]
    image::generate::capabilities("gateway")?;
    Ok(())
}
