//! The file of a guest's log, which is renamed when it is long enough and begun again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Files that are kept besides the one that is written: `serial.log.1` is the newest.
pub(crate) const KEPT: u32 = 4;

/// A file that is written line by line.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes in it, and as many as it may have.
    bytes: u64,
    most: u64,
}

impl LogFile {
    /// Makes the file and its folder; what is there of another run goes.
    pub(crate) fn create(path: &Path, most: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        for number in 1..=KEPT {
            match fs::remove_file(older(path, number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            file: private(path)?,
            bytes: 0,
            most,
        })
    }

    /// The same, after a line that tells how many bytes could not be written before.
    pub(crate) fn write_after(&mut self, lost: usize, bytes: &[u8]) -> io::Result<()> {
        if lost > 0 {
            let told = format!("\nrun: {lost} bytes of the log are lost: no room to write them\n");
            self.write(told.as_bytes())?;
        }
        self.write(bytes)
    }

    /// Writes what the guest printed. A file ends with a whole line.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let line_end = bytes.iter().rposition(|byte| *byte == b'\n');
        let is_long = self.bytes + bytes.len() as u64 > self.most;
        let (last, rest) = match line_end {
            Some(end) if is_long => bytes.split_at(end + 1),
            _ => return self.append(bytes),
        };
        self.append(last)?;
        for number in (1..KEPT).rev() {
            match fs::rename(older(&self.path, number), older(&self.path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, older(&self.path, 1))?;
        self.file = private(&self.path)?;
        self.bytes = 0;
        self.append(rest)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// An empty file that its owner alone can read: addresses and names of clients are in it.
fn private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

/// The name of one that was written before, the newest being number one.
fn older(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use image::workspace;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        workspace::scratch(name).unwrap().join("serial.log")
    }

    #[test]
    fn a_long_log_is_in_several_files_of_whole_lines_and_the_oldest_goes() {
        let path = scratch("log-file");
        let mut file = LogFile::create(&path, 1000).unwrap();
        let mut written = String::new();
        for number in 0..1000 {
            let line = format!("line {number}\n");
            // Cut anywhere.
            let (first, rest) = line.split_at(number % line.len());
            file.write(first.as_bytes()).unwrap();
            file.write(rest.as_bytes()).unwrap();
            written += &line;
        }
        let names = (1..=KEPT).rev().map(|number| older(&path, number));
        let texts: Vec<_> = names
            .chain([path.clone()])
            .map(|name| fs::read_to_string(name).unwrap())
            .collect();
        for text in &texts {
            assert!(text.ends_with('\n') || text.is_empty(), "{text}");
            assert!(text.len() <= 1000 + 20, "{}", text.len());
        }
        // What is left is the end, without a gap.
        let all = texts.concat();
        assert!(all.len() > 4000 && written.ends_with(&all));
        assert!(!older(&path, KEPT + 1).exists());
        // Another run begins again.
        LogFile::create(&path, 1000).unwrap();
        assert!(fs::read(&path).unwrap().is_empty() && !older(&path, 1).exists());
    }

    #[test]
    fn a_line_without_an_end_stays_in_one_file() {
        let path = scratch("log-file-line");
        let mut file = LogFile::create(&path, 10).unwrap();
        for _ in 0..100 {
            file.write(b"xx").unwrap();
        }
        assert_eq!(fs::read(&path).unwrap().len(), 200);
        file.write(b"\nrest").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"rest");
        assert_eq!(fs::read(older(&path, 1)).unwrap().len(), 201);
    }

    #[test]
    fn what_could_not_be_written_is_told_where_it_is_missing() {
        let path = scratch("log-file-lost");
        let mut file = LogFile::create(&path, 1000).unwrap();
        file.write_after(0, b"one\ntw").unwrap();
        file.write_after(7, b"four\n").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["one", "tw"]);
        assert!(lines[2].starts_with("run: 7 bytes of the log are lost"));
        assert_eq!(lines[3..], ["four"]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // A full disk.
        let full = LogFile::create(Path::new("/dev/full"), 1000);
        assert!(full.unwrap().write_after(3, b"x").is_err());
    }
}
