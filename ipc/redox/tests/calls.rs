//! The key store over a Redox scheme: client and server as they are, the kernel's
//! part played by this test.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    reason = "a test"
)]

use std::cell::RefCell;

use ipc::badge::Badge;
use ipc::bounded::{List, Text};
use ipc::keystore::{Answer, CertificateList, KeyringIndex, Keystore, KeystoreError, Request};
use ipc::provision::{Crls, Keyring, Keyrings, KeystoreData};
use ipc::stats;
use ipc::transport::{Client, MAX_MESSAGE, TransportError};
use ipc_redox::{Door, Scheme};
use keystore_server::{Server, firmware};
use syscall::error::{EACCES, EBADF, EINVAL, EOPNOTSUPP, Error};
use syscall::flag::CallFlags;
use syscall::schemev2::{Cqe, Opcode, Sqe, SqeFlags};
use tls::Role;

/// What the kernel does for a scheme, and the key store behind it.
struct Kernel {
    scheme: RefCell<Scheme>,
    store: RefCell<Server<'static>>,
}

impl Kernel {
    fn new() -> Self {
        let ring = Keyring {
            label: Text::from_text("anchors").unwrap(),
            roles: vec![Role::Client],
            decrypts: false,
            schemes: List::new(),
            key: None,
            chain: Vec::new(),
            trust: vec![vec![7; 700]],
            crls: Crls::default(),
            ocsp: None,
        };
        let blob = postcard::to_allocvec(&KeystoreData::open(Keyrings(vec![ring]))).unwrap();
        let stats: &'static stats::Page = Box::leak(Box::default());
        Self {
            scheme: RefCell::default(),
            store: RefCell::new(Server::new(&blob, stats, firmware::absent).unwrap()),
        }
    }

    fn client(&self, badge: Badge) -> (usize, Client<Keystore, Door<Descriptor<'_>>>) {
        let number = self.scheme.borrow_mut().open(badge.to_word()).unwrap();
        (number, Client::new(Door::new(Descriptor(self, number))))
    }

    fn queue(&self, entry: &Sqe) -> Option<Cqe> {
        let mut store = self.store.borrow_mut();
        // SAFETY: the buffers of these tests live until the answer.
        unsafe {
            let mut scheme = self.scheme.borrow_mut();
            scheme.answer(entry, |badge, asked, reply| {
                store.serve(badge, asked, reply)
            })
        }
    }

    fn result(&self, opcode: Opcode, args: [u64; 6]) -> Result<usize, Error> {
        let entry = Sqe {
            opcode: opcode as u8,
            tag: 77,
            args,
            ..Sqe::default()
        };
        let answer = self.queue(&entry).unwrap();
        assert_eq!(answer.tag, 77);
        Error::demux(answer.result as usize)
    }
}

/// A file descriptor: its scheme's number.
#[derive(Clone, Copy)]
struct Descriptor<'a>(&'a Kernel, usize);

impl syscall::Call for Descriptor<'_> {
    unsafe fn raw_call(
        &self,
        payload: *const u8,
        length: usize,
        flags: CallFlags,
        metadata: &[u64],
    ) -> Result<usize, Error> {
        assert_eq!(flags, CallFlags::READ | CallFlags::WRITE);
        let address = payload.expose_provenance() as u64;
        let args = [self.1 as u64, address, length as u64, metadata[0], 0, 0];
        self.0.result(Opcode::Call, args)
    }
}

const FIRST: KeyringIndex = KeyringIndex(0);

#[test]
fn c09_the_key_store_answers_over_a_scheme() {
    let kernel = Kernel::new();
    let (_, client) = kernel.client(Badge::Client(1));
    let Ok(Ok(Answer::Keyring { label, trust, .. })) = client.call(&Request::Keyring(FIRST)) else {
        panic!("no key ring");
    };
    assert_eq!((&*label, trust), ("anchors", 1));
    let part = client.call(&Request::Certificate {
        keyring: FIRST,
        from: CertificateList::Trust,
        index: 0,
        offset: 0,
    });
    let Ok(Ok(Answer::Part(part))) = part else {
        panic!("no certificate");
    };
    assert!(part.len() > 600 && part.iter().all(|byte| *byte == 7));
    let none = client.call(&Request::Keyring(KeyringIndex(1)));
    assert_eq!(none.unwrap().err(), Some(KeystoreError::Unknown));
}

#[test]
fn c09_a_descriptor_is_the_right_to_call_and_nothing_else_is() {
    let kernel = Kernel::new();
    let (number, client) = kernel.client(Badge::Client(1));
    assert!(client.call(&Request::Keyring(FIRST)).is_ok());
    let mut buffer = [0; MAX_MESSAGE];
    let address = buffer.as_mut_ptr().expose_provenance() as u64;
    let room = MAX_MESSAGE as u64;
    // A number that was not handed out, and a name.
    let other = number as u64 + 1;
    let args = [other, address, room, 1, 0, 0];
    assert_eq!(kernel.result(Opcode::Call, args), Err(Error::new(EBADF)));
    let args = [0, address, 3, 0, 0, 0];
    assert_eq!(kernel.result(Opcode::OpenAt, args), Err(Error::new(EACCES)));
    let args = [number as u64, address, room, 0, 0, 0];
    assert_eq!(kernel.result(Opcode::Dup, args), Err(Error::new(EACCES)));
    assert_eq!(
        kernel.result(Opcode::Read, args),
        Err(Error::new(EOPNOTSUPP))
    );
    // One that was revoked, and one that was closed.
    kernel.scheme.borrow_mut().revoke(number);
    let gone = client.call(&Request::Keyring(FIRST));
    assert_eq!(gone.err(), Some(TransportError::Gone));
    let (number, client) = kernel.client(Badge::Client(1));
    let args = [number as u64, 0, 0, 0, 0, 0];
    assert_eq!(kernel.result(Opcode::CloseMsg, args), Ok(0));
    assert!(client.call(&Request::Keyring(FIRST)).is_err());
}

#[test]
fn c09_a_call_that_is_malformed_is_refused_before_its_buffer_is_read() {
    let kernel = Kernel::new();
    let (number, _) = kernel.client(Badge::Client(1));
    let number = number as u64;
    let room = MAX_MESSAGE as u64;
    for (room, length) in [(room - 1, 1), (room, room + 1), (0, 0), (room, u64::MAX)] {
        // Nothing is at that address.
        let args = [number, 0x1000, room, length, 0, 0];
        let refused = kernel.result(Opcode::Call, args);
        assert_eq!(refused, Err(Error::new(EINVAL)), "{room}, {length}");
    }
    let mut entry = Sqe {
        opcode: Opcode::Call as u8,
        args: [number, 0x1000, room, 1, 0, number],
        sqe_flags: SqeFlags::MULTIPLE_IDS,
        ..Sqe::default()
    };
    let answer = kernel.queue(&entry).unwrap();
    assert_eq!(
        Error::demux(answer.result as usize),
        Err(Error::new(EINVAL))
    );
    // What wants no answer gets none.
    entry.sqe_flags |= SqeFlags::ONEWAY;
    assert!(kernel.queue(&entry).is_none());
    // What is no request is answered as on seL4.
    let mut buffer = [0xff; MAX_MESSAGE];
    let address = buffer.as_mut_ptr().expose_provenance() as u64;
    let length = kernel.result(Opcode::Call, [number, address, room, 9, 0, 0]);
    let mut expected = [0; MAX_MESSAGE];
    let mut store = kernel.store.borrow_mut();
    let used = store.serve(Badge::Client(1).to_word(), &[0xff; 9], &mut expected);
    assert_eq!((length, buffer), (Ok(used), expected));
}
