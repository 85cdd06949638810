//! Writes the constants that the system description gives the measuring domain.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    image::generate::constants("gateway")
}
