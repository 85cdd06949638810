//! What is kept for requests to come, by what they ask for.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use ipc::control::Parameters;
use ipc::handshake::Start;
use tls::Role;

/// Configurations of each mode that are kept for requests to come.
pub(crate) const KEPT: usize = 32;

/// What a request asks for, and who.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The client of the shim. Clients that ask for the same share nothing.
    pub(crate) client: u16,
    pub(crate) role: Role,
    pub(crate) parameters: &'a Parameters,
}

impl<'a> Asked<'a> {
    pub(crate) const fn by(start: &'a Start) -> Self {
        Self {
            client: start.origin.client,
            role: start.role,
            parameters: &start.parameters,
        }
    }
}

/// A few values, the latest used first. When there is no room, the client with the most
/// of them loses the one that it has not used for the longest time: nobody pushes out
/// another's by asking for more than his part.
pub(crate) struct ByRequest<T> {
    most: usize,
    kept: VecDeque<Kept<T>>,
}

struct Kept<T> {
    client: u16,
    role: Role,
    parameters: Box<Parameters>,
    value: T,
}

impl<T: Clone> ByRequest<T> {
    /// Room for so many.
    pub(crate) const fn new(most: usize) -> Self {
        Self {
            most,
            kept: VecDeque::new(),
        }
    }

    /// What is kept for this request.
    pub(crate) fn get(&mut self, asked: Asked<'_>) -> Option<T> {
        let found = self.kept.iter().position(|kept| {
            kept.client == asked.client
                && kept.role == asked.role
                && *kept.parameters == *asked.parameters
        })?;
        if found > 0 {
            let kept = self.kept.remove(found)?;
            self.kept.push_front(kept);
        }
        self.kept.front().map(|kept| kept.value.clone())
    }

    /// Keeps it for the next that ask for the same.
    pub(crate) fn put(&mut self, asked: Asked<'_>, value: T) {
        self.kept.push_front(Kept {
            client: asked.client,
            role: asked.role,
            parameters: Box::new(asked.parameters.clone()),
            value,
        });
        if self.kept.len() > self.most {
            self.make_room();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }

    fn make_room(&mut self) {
        let own = |client: u16| {
            self.kept
                .iter()
                .filter(|kept| kept.client == client)
                .count()
        };
        let places = self.kept.iter().enumerate();
        // The last of the greatest is the one that was not used for the longest time.
        let oldest = places.max_by_key(|(_, kept)| own(kept.client));
        if let Some((place, _)) = oldest {
            self.kept.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use ipc::bounded::{List, Text};
    use ipc::tls::PeerAuthentication;

    use super::*;

    fn parameters(number: u16) -> Parameters {
        Parameters {
            versions: List::new(),
            suites: List::new(),
            groups: List::new(),
            keyrings: List::from_items([Text::from_text("main").unwrap()]).unwrap(),
            peer_authentication: PeerAuthentication::None,
            server_name: None,
            alpn: List::new(),
            segment_size: number,
            resumption: false,
            expose_keys: false,
            allow_static_rsa: false,
            peer_schemes: List::new(),
        }
    }

    fn asked(client: u16, parameters: &Parameters) -> Asked<'_> {
        Asked {
            client,
            role: Role::Server,
            parameters,
        }
    }

    #[test]
    fn clients_and_roles_share_nothing() {
        let mut kept = ByRequest::new(4);
        let same = parameters(1);
        kept.put(asked(1, &same), "one");
        assert_eq!(kept.get(asked(1, &same)), Some("one"));
        assert_eq!(kept.get(asked(2, &same)), None);
        let role = Role::Client;
        assert_eq!(
            kept.get(Asked {
                role,
                ..asked(1, &same)
            }),
            None
        );
        assert_eq!(kept.get(asked(1, &parameters(2))), None);
    }

    #[test]
    fn the_client_with_the_most_loses_the_one_that_it_used_least_recently() {
        const MOST: usize = 8;
        let mut kept = ByRequest::new(MOST);
        let (first, second) = (parameters(1), parameters(2));
        kept.put(asked(1, &first), 1);
        kept.put(asked(1, &second), 2);
        for number in 0..100 {
            kept.put(asked(2, &parameters(number)), number);
        }
        assert_eq!(kept.get(asked(1, &first)), Some(1));
        assert_eq!(kept.get(asked(1, &second)), Some(2));
        let left = (0..100).filter(|number| kept.get(asked(2, &parameters(*number))).is_some());
        assert!(left.eq(94..100));
        // Alone, a client has all of it, and what it uses stays.
        for number in 3..100 {
            assert_eq!(kept.get(asked(1, &first)), Some(1));
            kept.put(asked(1, &parameters(number)), number);
        }
        assert_eq!(kept.kept.len(), MOST);
    }
}
