//! What a configuration can say: every table and key, with its values, default and unit.
//! The checks read their limits from here, and `cargo xtask config reference` prints it.

pub use crate::FILE;

/// A table.
#[derive(Debug)]
pub struct Table {
    /// How it is written: `[network]`, `tls`.
    pub name: &'static str,
    /// What it is for, in one sentence.
    pub about: &'static str,
    /// Its keys, in the order in which a person meets them.
    pub keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it can be.
    pub kind: Kind,
    /// Whether it must be there.
    pub need: Need,
    /// How it is written, as a value of TOML.
    pub example: &'static str,
    /// What it says, in one sentence or two.
    pub meaning: &'static str,
}

/// What a key can be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Text of 1 to so many bytes.
    Text {
        /// Most bytes.
        most: usize,
    },
    /// The name of a file, relative to the configuration's folder.
    File,
    /// A list of names of files, or one alone.
    Files {
        /// Most of them.
        count: usize,
    },
    /// A whole number.
    Number {
        /// The least.
        least: u32,
        /// The most.
        most: u32,
        /// What is counted.
        unit: &'static str,
    },
    /// Several of them.
    Numbers {
        /// The least.
        least: u32,
        /// The most.
        most: u32,
        /// What is counted.
        unit: &'static str,
    },
    /// `true` or `false`.
    Flag,
    /// One of these texts.
    Choice(fn() -> Vec<&'static str>),
    /// A list of these texts, each once, or one of them alone.
    Choices(fn() -> Vec<&'static str>),
    /// A list of texts, or one alone.
    Texts {
        /// Most bytes of each.
        most: usize,
        /// Most of them.
        count: usize,
    },
    /// A table.
    Table(&'static Table),
    /// A list of tables.
    Tables {
        /// What each is.
        table: &'static Table,
        /// Most of them.
        count: usize,
    },
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// It must.
    Required,
    /// Without it the value is this one, as TOML writes it.
    Default(fn() -> String),
    /// When it must, or what its absence means.
    Depends(&'static str),
}

impl Table {
    /// The key with a name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Every table that is reached from this one, itself first, each once.
    pub fn every(&'static self) -> Vec<&'static Self> {
        let mut found = vec![self];
        let mut next = 0;
        while let Some(table) = found.get(next).copied() {
            for key in table.keys {
                let (Kind::Table(inner) | Kind::Tables { table: inner, .. }) = key.kind else {
                    continue;
                };
                if !found.iter().any(|known| std::ptr::eq(*known, inner)) {
                    found.push(inner);
                }
            }
            next += 1;
        }
        found
    }
}

/// A list of texts as TOML writes it.
pub(crate) fn written(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    format!("[{}]", quoted.join(", "))
}
