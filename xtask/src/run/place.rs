//! Where a run keeps what is its own, so that a second one beside it does not disturb it:
//! image, log, capture, key, sockets.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::Refused;

/// Most runs at once.
const MOST: u32 = 64;
/// The file in a folder whose lock says that a run is using it.
const LOCK: &str = "lock";

/// A folder that no other run uses, as long as this value is there.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// Let go when the process ends, however it does.
    _lock: File,
}

impl Place {
    /// `folder` for the first run, `folder-2` for one beside it, and so on.
    pub(super) fn first_free(folder: &Path) -> Result<Self, Refused> {
        for number in 1..=MOST {
            let mut name = folder.as_os_str().to_owned();
            if number > 1 {
                name.push(format!("-{number}"));
            }
            if let Some(place) = Self::take(Path::new(&name))? {
                return Ok(place);
            }
        }
        Err(Refused(format!(
            "{MOST} runs are under way; end one of them"
        )))
    }

    /// That folder and no other.
    pub(super) fn of(option: &str, folder: &Path) -> Result<Self, Refused> {
        Self::take(folder)?.ok_or_else(|| {
            Refused(format!(
                "{option} {}: another run writes there; name another folder",
                folder.display()
            ))
        })
    }

    /// Whether this is that folder.
    pub(super) fn is(&self, folder: &Path) -> bool {
        let own = self.folder.canonicalize();
        own.is_ok_and(|own| folder.canonicalize().is_ok_and(|other| other == own))
    }

    fn take(folder: &Path) -> Result<Option<Self>, Refused> {
        let refused = |error: io::Error| {
            Refused(format!(
                "{}: can't be written to: {error}",
                folder.display()
            ))
        };
        fs::create_dir_all(folder).map_err(refused)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false);
        let lock = lock.open(folder.join(LOCK)).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self {
                folder: folder.to_path_buf(),
                _lock: lock,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(refused(error)),
        }
    }
}

/// Empties a file that no other run writes.
pub(super) fn own_file(option: &str, file: &Path) -> Result<File, Refused> {
    let refused = |reason: String| Refused(format!("{option} {}: {reason}", file.display()));
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    // Names of clients are in it.
    let open = options.mode(0o600).open(file);
    let open = open.map_err(|error| refused(format!("can't be written: {error}")))?;
    if open.try_lock().is_err() {
        return Err(refused("another run writes it; name another file".into()));
    }
    let emptied = open.set_len(0);
    emptied.map_err(|error| refused(format!("can't be written: {error}")))?;
    Ok(open)
}

/// Refuses a socket where somebody answers.
pub(super) fn refuse_answered(option: &str, socket: &Path) -> Result<(), Refused> {
    let found = fs::symlink_metadata(socket);
    if found.is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(Refused(format!(
            "{option} {}: there is a file that is no socket; name another one",
            socket.display()
        )));
    }
    match UnixStream::connect(socket) {
        Ok(_) => Err(Refused(format!(
            "{option} {}: another machine answers there; name another socket",
            socket.display()
        ))),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use image::workspace;

    use super::*;

    #[test]
    fn a_second_run_gets_a_folder_of_its_own_and_the_next_one_the_first_again() {
        let base = workspace::scratch("places").unwrap().join("run");
        let first = Place::first_free(&base).unwrap();
        let second = Place::first_free(&base).unwrap();
        assert_eq!(first.folder, base);
        assert_eq!(second.folder, base.with_file_name("run-2"));
        drop(first);
        assert_eq!(Place::first_free(&base).unwrap().folder, base);
    }

    #[test]
    fn a_folder_that_was_named_is_refused_while_a_run_has_it() {
        let folder = workspace::scratch("named-place").unwrap();
        let first = Place::of("--log-dir", &folder).unwrap();
        let refused = Place::of("--log-dir", &folder).unwrap_err().to_string();
        assert!(refused.contains("another run writes there"), "{refused}");
        drop(first);
        Place::of("--log-dir", &folder).unwrap();
        let file = folder.join(LOCK).join("below-a-file");
        let refused = Place::of("--log-dir", &file).unwrap_err().to_string();
        assert!(refused.contains("can't be written to"), "{refused}");
    }

    #[test]
    fn a_file_of_another_run_keeps_its_lines() {
        let file = workspace::scratch("own-file").unwrap().join("audit");
        fs::write(&file, "a line").unwrap();
        let first = own_file("--audit", &file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"");
        fs::write(&file, "the first run's").unwrap();
        let refused = own_file("--audit", &file).unwrap_err().to_string();
        assert!(refused.contains("another run writes it"), "{refused}");
        assert_eq!(fs::read(&file).unwrap(), b"the first run's");
        drop(first);
    }

    #[test]
    fn a_socket_where_somebody_answers_is_refused_and_a_leftover_is_not() {
        let socket = workspace::scratch("answered").unwrap().join("qmp");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let refused = refuse_answered("--qmp", &socket).unwrap_err();
        assert!(refused.to_string().contains("another machine answers"));
        drop(listener);
        refuse_answered("--qmp", &socket).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_not_taken_for_one() {
        let folder = workspace::scratch("sockets").unwrap();
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("gateway.toml");
        let _ = fs::remove_file(&file);
        fs::write(&file, "precious").unwrap();
        let refused = refuse_answered("--qmp", &file).unwrap_err();
        assert!(
            refused.0.contains("a file that is no socket"),
            "{}",
            refused.0
        );
        fs::remove_file(&file).unwrap();
        refuse_answered("--qmp", &file).unwrap();
        // What a run left is one.
        drop(UnixListener::bind(&file).unwrap());
        refuse_answered("--qmp", &file).unwrap();
    }
}
