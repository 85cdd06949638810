//! Files that a person writes.

use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use image::{load, policy, workspace};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use crate::bytes::Bytes;

/// 2027-01-01: the material of the tests was made for that day.
fn test_day() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_798_761_600)
}

/// A folder beside one with keys and chains.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for the input");
    let workspace = workspace::root().expect("the workspace");
    let material = workspace.join("gateway-config/tests/material");
    symlink(material, folder.path().join("material")).expect("a link to the material");
    let inner = folder.path().join("good");
    fs::create_dir(&inner).expect("a folder for the input");
    (folder, inner)
}

thread_local! {
    static FOLDER: OnceCell<(TempDir, PathBuf)> = const { OnceCell::new() };
}

fn configure(files: &[(&str, &[u8])], main: &str) {
    FOLDER.with(|both| {
        let (_, folder) = both.get_or_init(folder);
        for (name, bytes) in files {
            fs::write(folder.join(name), bytes).expect("a file is written");
        }
        if let Err(problem) = gateway_config::load(&folder.join(main), test_day()) {
            assert!(!problem.to_string().is_empty());
        }
    });
}

/// `gateway.toml`.
pub fn configuration(data: &[u8]) {
    configure(&[("gateway.toml", data)], "gateway.toml");
}

const NAMING_FILES: &str = r#"
[[keyring]]
label = "web"
chain = "chain.pem"
key = "key.pem"
trust = "trust.pem"

[[listener]]
name = "web"
listen = 443
tls = { role = "server", mode = "autonomous", keyring = "web", client_auth = "request" }
backend = { status = true }
"#;

/// A chain, a private key and trust anchors.
pub fn key_files(data: &[u8]) {
    let mut rest = Bytes(data);
    let (chain, key) = (rest.vector(), rest.vector());
    let files = [
        ("files.toml", NAMING_FILES.as_bytes()),
        ("chain.pem", chain),
        ("key.pem", key),
        ("trust.pem", rest.0),
    ];
    configure(&files, "files.toml");
}

/// A system description, and a policy.
pub fn description(data: &[u8]) {
    let Some((which, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = core::str::from_utf8(text) else {
        return;
    };
    if which % 2 == 0 {
        let _ = load::text(text).map(|description| policy::judge_base(&description));
        return;
    }
    if let Ok(policy) = policy::parse(text, 1536) {
        let shipped = workspace::description().and_then(|path| load::file(&path));
        let shipped = shipped.expect("the shipped description");
        let mut report = policy::Report::default();
        policy::judge_by(&policy, &shipped, &mut report);
    }
}
