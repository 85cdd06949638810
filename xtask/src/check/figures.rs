//! What may only fall: lines of each domain, uses of `unsafe`, dependencies, memory.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use image::bill;
use image::description::Description;
use image::figures::{lines, source_of, uses};
use image::guest;

use super::baseline::Figures;

/// Folders that are looked through for unsafe code, besides those of the domains; the others
/// forbid it.
const FOLDERS: [&str; 6] = [
    "bench",
    "examples",
    "image/init/src",
    "image/src",
    "ipc",
    "sel4",
];

/// Libraries that domains share.
const LIBRARIES: [(&str, &str); 2] = [("ipc", "ipc/src"), ("tls", "tls/src")];

/// The part of the baseline with the uses of `unsafe` by folder, tests counted.
const UNSAFE: &str = "unsafe";

/// All figures: of each domain of the description, of the root task, of libraries, of
/// folders.
///
/// # Errors
/// Source can't be read, or cargo can't tell dependencies.
pub(super) fn collect(workspace: &Path, description: &Description) -> Result<Figures> {
    let mut figures = Figures::new();
    for domain in &description.domains {
        let mut list = program(workspace, &domain.name)?;
        list.insert("stack".into(), domain.stack);
        list.insert("heap".into(), domain.heap);
        figures.insert(domain.name.clone(), list);
    }
    figures.insert(guest::ROOT.into(), program(workspace, guest::ROOT)?);
    for (library, source) in LIBRARIES {
        let lines = lines(&workspace.join(source))? as u64;
        figures.insert(library.into(), BTreeMap::from([("lines".into(), lines)]));
    }
    let mut folders = BTreeMap::new();
    for folder in looked_through(workspace, description)? {
        let uses = uses(&workspace.join(&folder))?;
        if uses > 0 {
            folders.insert(folder, uses as u64);
        }
    }
    figures.insert(UNSAFE.into(), folders);
    Ok(figures)
}

/// Where uses of `unsafe` are counted: in no folder twice.
fn looked_through(workspace: &Path, description: &Description) -> Result<Vec<String>> {
    let mut folders = FOLDERS.map(String::from).to_vec();
    for domain in &description.domains {
        let source = source_of(workspace, &domain.name);
        let source = source.with_context(|| format!("{} has no source", domain.name))?;
        let folder = source.parent().unwrap_or(&source).strip_prefix(workspace)?;
        folders.push(folder.display().to_string());
    }
    let all = folders.clone();
    folders.retain(|folder| {
        let is_within = |other: &String| folder.starts_with(&format!("{other}/"));
        !all.iter().any(is_within)
    });
    folders.sort_unstable();
    Ok(folders)
}

/// Of one program and its library: lines of code without unit tests, uses of `unsafe`,
/// packages linked.
fn program(workspace: &Path, package: &str) -> Result<BTreeMap<String, u64>> {
    let source = source_of(workspace, package);
    let source = source.with_context(|| format!("{package} has no source"))?;
    let numbers = [
        ("lines", lines(&source)?),
        ("unsafe", uses(&source)?),
        ("dependencies", bill::linked(workspace, package)?.len()),
    ];
    let numbers = numbers.map(|(name, number)| (name.to_string(), number as u64));
    Ok(numbers.into())
}

/// The figures, for a person.
pub(super) fn page(figures: &Figures) -> String {
    let mut page = String::new();
    for (of, list) in figures {
        let list: Vec<String> = list.iter().map(|(name, n)| format!("{name} {n}")).collect();
        page += &format!("{of}: {}\n", list.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use image::{load, workspace};

    use super::*;

    #[test]
    fn unsafe_code_is_looked_for_in_the_folder_of_every_domain_once() {
        let root = workspace::root().unwrap();
        let description = load::file(&workspace::description().unwrap()).unwrap();
        let folders = looked_through(&root, &description).unwrap();
        for domain in &description.domains {
            let source = source_of(&root, &domain.name).unwrap();
            let mut above = folders.iter().filter(|f| source.starts_with(root.join(f)));
            assert!(above.next().is_some(), "{}", domain.name);
            assert_eq!(above.next(), None, "{}", domain.name);
        }
    }
}
