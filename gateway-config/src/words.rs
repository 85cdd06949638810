//! A TOML table whose keys are known, and values that remember their place.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Complaint, Reported, Sink};
use crate::reference::{Key, Kind, Table};

/// A table of the file, and what it can say.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    sink: &'a Sink,
    known: &'static Table,
    at: usize,
    table: &'a DeTable<'a>,
}

/// Reads every item, whatever becomes of the others.
///
/// # Errors
/// When one was not read.
pub(crate) fn each<I, T>(
    items: impl IntoIterator<Item = I>,
    read: impl FnMut(I) -> Result<T, Reported>,
) -> Result<Vec<T>, Reported> {
    // All first: `collect` would stop at the first that fails.
    let read: Vec<_> = items.into_iter().map(read).collect();
    read.into_iter().collect()
}

/// Reads what is there.
///
/// # Errors
/// When it is there and was not read.
pub(crate) fn if_there<'a, T>(
    word: Option<Word<'a>>,
    read: impl FnOnce(Word<'a>) -> Result<T, Reported>,
) -> Result<Option<T>, Reported> {
    word.map(read).transpose()
}

impl<'a> Words<'a> {
    /// Reports each key that is not `known`.
    pub(crate) fn new(
        sink: &'a Sink,
        known: &'static Table,
        at: usize,
        table: &'a DeTable<'a>,
    ) -> Self {
        let names: Vec<&str> = known.keys.iter().map(|key| key.name).collect();
        let name = known.name;
        for key in table.keys() {
            if !names.contains(&key.get_ref().as_ref()) {
                let complaint = Complaint::new(
                    format!("unknown key \"{}\" in {name}", key.get_ref()),
                    format!("the keys of {name} are: {}", names.join(", ")),
                );
                sink.report(key.span().start, complaint);
            }
        }
        Self {
            sink,
            known,
            at,
            table,
        }
    }

    /// The value of a key of the table, if it is there.
    pub(crate) fn optional(&self, name: &str) -> Option<Word<'a>> {
        let key = self.known.key(name)?;
        let value = self.table.get(key.name)?;
        Some(Word {
            sink: self.sink,
            key,
            value,
        })
    }

    /// The tables of a key with a list of them; none, if the key is not there.
    pub(crate) fn tables(&self, name: &str) -> Result<Vec<Word<'a>>, Reported> {
        match self.optional(name) {
            Some(word) => word.list(),
            None => Ok(Vec::new()),
        }
    }

    /// The value of a required key.
    pub(crate) fn required(&self, name: &str) -> Result<Word<'a>, Reported> {
        self.optional(name).ok_or_else(|| {
            let example = self.known.key(name).map_or("…", |key| key.example);
            self.problem(
                format!("{} has no \"{name}\"", self.known.name),
                format!("add a line like: {name} = {example}"),
            )
        })
    }

    /// Reports a problem with the table as a whole.
    pub(crate) fn problem(&self, reason: impl Into<String>, remedy: impl Into<String>) -> Reported {
        self.sink.report(self.at, Complaint::new(reason, remedy))
    }
}

/// The value of one key.
#[derive(Clone, Copy)]
pub(crate) struct Word<'a> {
    sink: &'a Sink,
    key: &'static Key,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Word<'a> {
    /// Reports a problem with this value.
    pub(crate) fn problem(&self, reason: impl Into<String>, remedy: impl Into<String>) -> Reported {
        self.complain(Complaint::new(reason, remedy))
    }

    /// Gives a complaint this value's place.
    pub(crate) fn complain(&self, complaint: Complaint) -> Reported {
        self.sink.report(self.at(), complaint)
    }

    /// The value's offset in the file, in bytes.
    fn at(&self) -> usize {
        self.value.span().start
    }

    /// The value as text.
    pub(crate) fn text(&self) -> Result<&'a str, Reported> {
        let text = self.value.get_ref().as_str();
        text.ok_or_else(|| self.wrong_type("a text", "quotes around it: \"…\""))
    }

    /// The value as text that is not longer than the key's may be.
    pub(crate) fn short_text(&self) -> Result<&'a str, Reported> {
        let most = match self.key.kind {
            Kind::Text { most } | Kind::Texts { most, .. } => most,
            _ => usize::MAX,
        };
        let text = self.text()?;
        if text.is_empty() || text.len() > most {
            return Err(self.problem(
                format!("{} \"{text}\" is {} bytes long", self.key.name, text.len()),
                format!("write 1 to {most} bytes"),
            ));
        }
        Ok(text)
    }

    /// The value as a whole number in the key's range.
    pub(crate) fn number<T: TryFrom<u32>>(&self) -> Result<T, Reported> {
        let (least, most) = match self.key.kind {
            Kind::Number { least, most, .. } | Kind::Numbers { least, most, .. } => (least, most),
            _ => (0, u32::MAX),
        };
        let Some(integer) = self.value.get_ref().as_integer() else {
            return Err(self.wrong_type("a number", "digits without quotes"));
        };
        u32::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| (least..=most).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| {
                self.problem(
                    format!("{} = {} is out of range", self.key.name, integer.as_str()),
                    format!("write {least} to {most}"),
                )
            })
    }

    /// The value as true or false.
    pub(crate) fn flag(&self) -> Result<bool, Reported> {
        let flag = self.value.get_ref().as_bool();
        flag.ok_or_else(|| self.wrong_type("true or false", "true or false, without quotes"))
    }

    /// The value as a list.
    pub(crate) fn list(&self) -> Result<Vec<Self>, Reported> {
        let items = self
            .value
            .get_ref()
            .as_array()
            .ok_or_else(|| self.wrong_type("a list", "brackets around it: [\"…\"]"))?;
        Ok(items.iter().map(|value| Self { value, ..*self }).collect())
    }

    /// The value as a list of one or more, or a single text.
    pub(crate) fn one_or_more(&self) -> Result<Vec<Self>, Reported> {
        let items = match self.value.get_ref() {
            DeValue::String(_) => vec![*self],
            _ => self.list()?,
        };
        if items.is_empty() {
            return Err(self.problem(
                format!("{} is empty", self.key.name),
                "name at least one, or leave the key out if it is optional",
            ));
        }
        Ok(items)
    }

    /// The value as a table of the key's kind.
    pub(crate) fn table(&self) -> Result<Words<'a>, Reported> {
        let (Kind::Table(known) | Kind::Tables { table: known, .. }) = self.key.kind else {
            return Err(self.wrong_type("another value", "what the key is for"));
        };
        let name = known.name;
        let table = self.value.get_ref().as_table().ok_or_else(|| {
            self.wrong_type("a table", &format!("{name} with keys below it, or {{ … }}"))
        })?;
        Ok(Words::new(self.sink, known, self.at(), table))
    }

    /// The choice that the text names.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Reported> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(n, _)| format!("\"{n}\"")).collect();
            self.problem(
                format!("{} = \"{text}\" is not known", self.key.name),
                format!("write {}", names.join(" or ")),
            )
        })
    }

    /// The choices that a list's texts name, each at most once.
    pub(crate) fn choices<T: Copy + PartialEq>(
        &self,
        choices: &[(&str, T)],
    ) -> Result<Vec<T>, Reported> {
        let mut found = Vec::new();
        each(self.one_or_more()?, |item| {
            let value = item.choice(choices)?;
            if found.contains(&value) {
                return Err(item.problem(
                    format!("{} names \"{}\" twice", self.key.name, item.text()?),
                    "name it once, where its preference is",
                ));
            }
            found.push(value);
            Ok(value)
        })
    }

    fn wrong_type(&self, wanted: &str, remedy: &str) -> Reported {
        let found = self.value.get_ref().type_str();
        self.problem(
            format!(
                "{} is of type {found} where {wanted} belongs",
                self.key.name
            ),
            format!("write {remedy}"),
        )
    }
}
