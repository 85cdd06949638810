//! A TOML table whose words are known, and values that remember their place.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Complaint, Problem, Source};

/// A table with nothing but known words in it.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    source: Source<'a>,
    /// What a person calls the table: `[network]`, `tls`.
    name: &'a str,
    at: usize,
    table: &'a DeTable<'a>,
}

impl<'a> Words<'a> {
    /// Refuses a table with a key that is not in `known`.
    pub(crate) fn new(
        source: Source<'a>,
        name: &'a str,
        at: usize,
        table: &'a DeTable<'a>,
        known: &[&str],
    ) -> Result<Self, Problem> {
        // Sorted by place, so that the first bad key of the file is named.
        let first = table
            .keys()
            .filter(|word| !known.contains(&word.get_ref().as_ref()))
            .min_by_key(|word| word.span().start);
        if let Some(word) = first {
            let complaint = Complaint::new(
                format!("unknown word \"{}\" in {name}", word.get_ref()),
                format!("the words of {name} are: {}", known.join(", ")),
            );
            return Err(source.problem(word.span().start, complaint));
        }
        Ok(Self {
            source,
            name,
            at,
            table,
        })
    }

    /// The value of a word, if it is there.
    pub(crate) fn optional(&self, word: &'a str) -> Option<Word<'a>> {
        let value = self.table.get(word)?;
        Some(Word {
            source: self.source,
            word,
            value,
        })
    }

    /// The value of a required key; `example` shows how to write it.
    pub(crate) fn required(&self, word: &'a str, example: &str) -> Result<Word<'a>, Problem> {
        self.optional(word).ok_or_else(|| {
            self.problem(
                format!("{} has no \"{word}\"", self.name),
                format!("add a line like: {word} = {example}"),
            )
        })
    }

    /// A problem with the table as a whole.
    pub(crate) fn problem(&self, reason: impl Into<String>, remedy: impl Into<String>) -> Problem {
        self.source.problem(self.at, Complaint::new(reason, remedy))
    }
}

/// The value of one word.
#[derive(Clone, Copy)]
pub(crate) struct Word<'a> {
    source: Source<'a>,
    word: &'a str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Word<'a> {
    /// A problem with this value.
    pub(crate) fn problem(&self, reason: impl Into<String>, remedy: impl Into<String>) -> Problem {
        self.complain(Complaint::new(reason, remedy))
    }

    /// Gives a complaint this value's place.
    pub(crate) fn complain(&self, complaint: Complaint) -> Problem {
        self.source.problem(self.at(), complaint)
    }

    /// The value's offset in the file, in bytes.
    pub(crate) fn at(&self) -> usize {
        self.value.span().start
    }

    /// The value as text.
    pub(crate) fn text(&self) -> Result<&'a str, Problem> {
        let text = self.value.get_ref().as_str();
        text.ok_or_else(|| self.wrong_type("a text", "quotes around it: \"…\""))
    }

    /// The value as text of 1 to `most` bytes.
    pub(crate) fn short_text(&self, most: usize) -> Result<&'a str, Problem> {
        let text = self.text()?;
        if text.is_empty() || text.len() > most {
            return Err(self.problem(
                format!("{} \"{text}\" is {} bytes long", self.word, text.len()),
                format!("write 1 to {most} bytes"),
            ));
        }
        Ok(text)
    }

    /// The value as a whole number in `range`.
    pub(crate) fn number(&self, range: std::ops::RangeInclusive<u32>) -> Result<u32, Problem> {
        let Some(integer) = self.value.get_ref().as_integer() else {
            return Err(self.wrong_type("a number", "digits without quotes"));
        };
        u32::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                self.problem(
                    format!("{} = {} is out of range", self.word, integer.as_str()),
                    format!("write {} to {}", range.start(), range.end()),
                )
            })
    }

    /// The value as true or false.
    pub(crate) fn flag(&self) -> Result<bool, Problem> {
        let flag = self.value.get_ref().as_bool();
        flag.ok_or_else(|| self.wrong_type("true or false", "true or false, without quotes"))
    }

    /// The value as a list.
    pub(crate) fn list(&self) -> Result<Vec<Self>, Problem> {
        let items = self
            .value
            .get_ref()
            .as_array()
            .ok_or_else(|| self.wrong_type("a list", "brackets around it: [\"…\"]"))?;
        Ok(items.iter().map(|value| Self { value, ..*self }).collect())
    }

    /// The value as a list of one or more, or a single text.
    pub(crate) fn one_or_more(&self) -> Result<Vec<Self>, Problem> {
        let items = match self.value.get_ref() {
            DeValue::String(_) => vec![*self],
            _ => self.list()?,
        };
        if items.is_empty() {
            return Err(self.problem(
                format!("{} is empty", self.word),
                "name at least one, or leave the word out if it is optional",
            ));
        }
        Ok(items)
    }

    /// The value as a table with nothing but `known` words.
    pub(crate) fn table(&self, name: &'a str, known: &[&str]) -> Result<Words<'a>, Problem> {
        let table = self.value.get_ref().as_table().ok_or_else(|| {
            self.wrong_type(
                "a table",
                &format!("{name} with words below it, or {{ … }}"),
            )
        })?;
        Words::new(self.source, name, self.at(), table, known)
    }

    /// The choice that the text names.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Problem> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(n, _)| format!("\"{n}\"")).collect();
            self.problem(
                format!("{} = \"{text}\" is not known", self.word),
                format!("write {}", names.join(" or ")),
            )
        })
    }

    /// The choices that a list's texts name, each at most once.
    pub(crate) fn choices<T: Copy + PartialEq>(
        &self,
        choices: &[(&str, T)],
    ) -> Result<Vec<T>, Problem> {
        let mut found = Vec::new();
        for item in self.one_or_more()? {
            let value = item.choice(choices)?;
            if found.contains(&value) {
                return Err(item.problem(
                    format!("{} names \"{}\" twice", self.word, item.text()?),
                    "name it once, where its preference is",
                ));
            }
            found.push(value);
        }
        Ok(found)
    }

    fn wrong_type(&self, wanted: &str, remedy: &str) -> Problem {
        let found = self.value.get_ref().type_str();
        self.problem(
            format!("{} is of type {found} where {wanted} belongs", self.word),
            format!("write {remedy}"),
        )
    }
}
