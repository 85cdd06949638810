//! A file system for Linux's first process: cpio in its form "newc"
//! (<https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>).

/// The archive so far.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;
const NULL: u32 = 0o020_666;

impl Archive {
    /// Adds a folder; that in which it is has to be there.
    pub(super) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, (0, 0), &[]);
    }

    /// Adds a file that everybody can read and execute.
    pub(super) fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, FILE, (0, 0), content);
    }

    /// Adds the devices that the first process needs before it mounts any.
    pub(super) fn devices(&mut self) {
        self.entry("dev/console", CONSOLE, (5, 1), &[]);
        self.entry("dev/null", NULL, (1, 3), &[]);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(b"070701");
        // Number, mode, user, group, links, time, size, device, device of a node, length
        // of the name, checksum.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            major,
            minor,
            name_size,
            0,
        ];
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_head_of_110_bytes_a_name_and_a_content_each_on_a_boundary() {
        let mut archive = Archive::default();
        archive.file("init", b"abcde");
        let bytes = archive.finish();
        assert!(bytes.starts_with(b"07070100000001000081ed"));
        assert_eq!(&bytes[110..115], b"init\0");
        assert_eq!(&bytes[116..121], b"abcde");
        assert_eq!(&bytes[124..130], b"070701");
        assert_eq!(&bytes[54..62], b"00000005");
        assert!(bytes.len().is_multiple_of(4));
        assert!(bytes.windows(11).any(|part| part == b"TRAILER!!!\0"));
    }
}
