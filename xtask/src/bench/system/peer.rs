//! nginx in a Linux guest of Debian's packages, on the same machine: fetched by apt-get
//! and unpacked below `target/`, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use image::command::Step;
use qemu::Boot;

use super::archive::Archive;
use super::cost::Owners;
use super::site::{Common, Running};
use crate::screen::Screen;

const READY_PATIENCE: Duration = Duration::from_secs(300);
/// What the guest's first process prints when nginx listens.
const READY: &str = "nginx: ready";
/// The kernel without drivers of hardware that no virtual machine has, by the package that
/// depends on the newest one.
const KERNEL: &str = "linux-image-cloud-amd64";
const PACKAGES: [&str; 2] = ["nginx", "busybox-static"];
/// The NIC's driver and what it needs, in the order of loading.
const MODULES: [&str; 8] = [
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "drivers/net/virtio_net",
];
const LIBRARIES: &str = "lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Linux maps each buffer of the NIC for itself when it has an IOMMU, which a rented
/// machine has not: without it nginx is cheaper.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 intel_iommu=off";

const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do /bin/busybox insmod $module; done
/bin/busybox ip link set lo up
/bin/busybox ip address add 10.0.2.15/24 dev eth0
/bin/busybox ip link set eth0 up
/bin/busybox ip route add default via 10.0.2.2
/usr/sbin/nginx && echo 'nginx: ready'
while :; do /bin/busybox sleep 100000; done
";

/// Fetches the packages, boots the guest, and waits for nginx.
///
/// # Errors
/// There is no apt-get with Debian's packages, or the guest does not come up.
pub(super) fn boot<'a>(
    workspace: &Path,
    screen: &Screen,
    common: &'a Common,
) -> Result<Running<'a>> {
    let root = packages(&workspace.join("target/bench/peer"), screen)?;
    let files = common.folder.join("peer.cpio");
    fs::write(&files, file_system(&root, common)?)?;
    let kernel = found(&root.join("boot"), "vmlinuz-")?;
    let mut machine = common.machine(
        Boot::Files {
            kernel,
            root: files,
        },
        "nginx",
    );
    machine.command_line = Some(COMMAND_LINE.to_string());
    let guest = screen.during("booting Linux with nginx", || {
        let mut guest = machine.start(READY_PATIENCE)?;
        guest.wait_line(READY_PATIENCE, |line| line.contains(READY))?;
        anyhow::Ok(guest)
    })?;
    Ok(Running::new(guest, &common.counter, Owners::default()))
}

/// Where the packages are unpacked.
fn packages(folder: &Path, screen: &Screen) -> Result<PathBuf> {
    let root = folder.join("root");
    let done = folder.join("packages.txt");
    if done.is_file() {
        return Ok(root);
    }
    screen.step("fetching Debian's packages of Linux and nginx into target/bench/peer");
    let kernels = depends(KERNEL)?;
    let kernel = kernels.iter().find(|name| name.starts_with("linux-image-"));
    let mut names = vec![kernel.context("no kernel in Debian's packages")?.clone()];
    names.extend(PACKAGES.map(str::to_string));
    let libraries = depends("nginx")?;
    let is_library = |name: &String| name.starts_with("lib") || name.starts_with("zlib");
    names.extend(libraries.into_iter().filter(is_library));
    let archives = folder.join("archives");
    // What a broken attempt left.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(&archives)?;
    Step::new("apt-get")
        .args(["download", "--quiet", "--option", "APT::Sandbox::User=root"])
        .args(&names)
        .current_dir(&archives)
        .run()
        .context("--peer nginx takes Debian's packages, by apt-get (apt-get update first)")?;
    let mut versions = Vec::new();
    for archive in fs::read_dir(&archives)? {
        let archive = archive?;
        versions.push(archive.file_name().to_string_lossy().into_owned());
        Step::new("dpkg-deb")
            .arg("--extract")
            .args([archive.path(), root.clone()])
            .run()?;
    }
    fs::remove_dir_all(&archives)?;
    versions.sort();
    fs::write(done, versions.join("\n") + "\n")?;
    Ok(root)
}

/// What a package depends on.
fn depends(package: &str) -> Result<Vec<String>> {
    let told = Step::new("apt-cache")
        .args(["depends", package])
        .output()
        .context("--peer nginx takes Debian's packages, by apt-get")?;
    Ok(dependencies(&told))
}

/// The lines `  Depends: NAME` of apt-cache; names of virtual packages are in brackets.
fn dependencies(told: &str) -> Vec<String> {
    let lines = told.lines().map(str::trim);
    let names = lines.filter_map(|line| line.strip_prefix("Depends: "));
    names
        .filter(|name| !name.starts_with('<'))
        .map(str::to_string)
        .collect()
}

/// The guest's files: the packages' programs, certificates, one configuration.
fn file_system(root: &Path, common: &Common) -> Result<Vec<u8>> {
    let read = |file: PathBuf| fs::read(&file).with_context(|| file.display().to_string());
    let mut archive = Archive::default();
    for folder in [
        "bin",
        "dev",
        "etc",
        "etc/nginx",
        "lib",
        LIBRARIES,
        "lib64",
        "modules",
        "proc",
        "run",
        "sys",
        "tmp",
        "usr",
        "usr/sbin",
        "usr/share",
        "usr/share/nginx",
        "var",
        "var/lib",
        "var/lib/nginx",
        "var/log",
        "var/log/nginx",
    ] {
        archive.folder(folder);
    }
    archive.devices();
    archive.file("init", INIT.as_bytes());
    for program in ["bin/busybox", "usr/sbin/nginx"] {
        // The older layout, and the one with everything in usr.
        let places = [root.join(program), root.join("usr").join(program)];
        let place = places.into_iter().find(|place| place.is_file());
        archive.file(program, &read(place.with_context(|| program.to_string())?)?);
    }
    for folder in [root.join(LIBRARIES), root.join("usr").join(LIBRARIES)] {
        let Ok(files) = fs::read_dir(folder) else {
            continue;
        };
        for file in files {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            // Links lead to files beside them.
            if name.contains(".so") && file.path().is_file() {
                let content = read(file.path())?;
                archive.file(&format!("{LIBRARIES}/{name}"), &content);
                if name == LOADER {
                    archive.file(&format!("lib64/{name}"), &content);
                }
            }
        }
    }
    let places = [root.join("lib/modules"), root.join("usr/lib/modules")];
    let place = places.iter().find(|place| place.is_dir());
    let modules = found(place.context("the kernel's modules")?, "")?.join("kernel");
    for (number, module) in MODULES.iter().enumerate() {
        let content = read(modules.join(format!("{module}.ko")))?;
        archive.file(&format!("modules/{number}.ko"), &content);
    }
    for name in ["web-chain.pem", "web-key.pem"] {
        let content = read(common.folder.join(name))?;
        archive.file(&format!("etc/nginx/{name}"), &content);
    }
    archive.file(
        "etc/passwd",
        b"root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n",
    );
    archive.file("etc/group", b"root:x:0:\nwww-data:x:33:\n");
    let configuration = configuration(common.backend);
    archive.file("etc/nginx/nginx.conf", configuration.as_bytes());
    Ok(archive.finish())
}

/// The one entry of `folder` whose name begins so.
fn found(folder: &Path, beginning: &str) -> Result<PathBuf> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            names.push(entry.path());
        }
    }
    let shown = folder.display();
    ensure!(
        names.len() == 1,
        "{shown}: {} times {beginning}",
        names.len()
    );
    names.pop().context("nothing")
}

/// Debian's own, with one worker, and a proxy that passes bodies on as they come.
fn configuration(backend: u16) -> String {
    let server = |port: u16, location: &str| {
        format!(
            "  server {{\n    listen {port} ssl;\n    ssl_certificate web-chain.pem;\n    \
             ssl_certificate_key web-key.pem;\n    location / {{ {location} }}\n  }}\n"
        )
    };
    let proxied = format!(
        "proxy_pass http://10.0.2.2:{backend}; proxy_request_buffering off; \
         proxy_max_temp_file_size 0;"
    );
    format!(
        "user www-data;\nworker_processes 1;\npid /run/nginx.pid;\n\
         error_log /var/log/nginx/error.log;\nevents {{ worker_connections 768; }}\n\
         http {{\n  sendfile on;\n  tcp_nopush on;\n  types_hash_max_size 2048;\n  \
         default_type application/octet-stream;\n  ssl_protocols TLSv1.2 TLSv1.3;\n  \
         ssl_prefer_server_ciphers on;\n  access_log /var/log/nginx/access.log;\n  \
         gzip on;\n{}{}}}\n",
        server(443, &proxied),
        server(445, "stub_status;"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_depends_on_is_read() {
        let told = "nginx\n  Depends: libc6\n |Depends: x\n  Depends: <virtual>\n  \
                    Depends: zlib1g\n  Suggests: fcgiwrap\n";
        assert_eq!(dependencies(told), ["libc6", "zlib1g"]);
    }

    #[test]
    fn each_server_of_the_peer_has_the_port_that_clients_ask_for() {
        use super::super::client::Port;
        let text = configuration(8080);
        for port in [Port::Proxied, Port::Status] {
            assert!(
                text.contains(&format!("listen {} ssl;", port as u16)),
                "{text}"
            );
        }
        assert!(text.contains("proxy_pass http://10.0.2.2:8080;"));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
