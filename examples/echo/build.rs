//! Writes the constants that the system description gives this domain.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    image::generate::constants("echo")
}
