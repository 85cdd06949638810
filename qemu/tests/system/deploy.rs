//! The files of `deploy/`: what their programs say of them. What boots by them is in
//! `machines`.

use std::fs;
use std::path::Path;
use std::process::Command;

use image::workspace;

/// Runs a program to its end, which has to be a good one.
#[track_caller]
fn assert_good(command: &mut Command) {
    let ended = command.output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&said));
}

fn deploy(file: &str) -> std::path::PathBuf {
    workspace::root().unwrap().join("deploy").join(file)
}

#[test]
fn systemd_takes_the_service() {
    // Its programs may be elsewhere here, or nowhere.
    let text = fs::read_to_string(deploy("systemd/handoff.service")).unwrap();
    let text = text.replace("/usr/bin/qemu-system-x86_64", "/bin/true");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deploy");
    fs::create_dir_all(&folder).unwrap();
    let unit = folder.join("handoff.service");
    fs::write(&unit, &text).unwrap();
    let verify = || {
        let mut command = Command::new("systemd-analyze");
        command.arg("verify").arg(&unit);
        command
    };
    assert_good(&mut verify());
    // It would find something.
    fs::write(
        &unit,
        text.replace("[Service]", "[Service]\nExecStart=nowhere"),
    )
    .unwrap();
    assert!(!verify().output().unwrap().status.success());
}

#[test]
fn libvirt_s_schema_takes_the_domain() {
    let schemas = workspace::root().unwrap().join(workspace::UNPACKED);
    let schema = schemas.join("usr/share/libvirt/schemas/domain.rng");
    let check = |file: &Path| {
        let mut command = Command::new("xmllint");
        command
            .arg("--noout")
            .arg("--relaxng")
            .args([&schema, file]);
        command
    };
    let file = deploy("libvirt/handoff.xml");
    assert_good(&mut check(&file));
    let wrong = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wrong.xml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&wrong, text.replace("<genid/>", "<nothing/>")).unwrap();
    assert!(!check(&wrong).output().unwrap().status.success());
}
