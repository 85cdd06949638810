//! The walk through the machines.

use std::collections::{HashSet, VecDeque};

use director::Machine;
use ipc::segment::{Segment, Verdict};
use tls::{Alert, Role};

use crate::names::{Place, input, output};
use crate::world::{Setting, settings};

/// One transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Of the machine.
    pub role: Role,
    /// Where it is.
    pub from: Place,
    /// The message or verdict that comes in.
    pub input: String,
    /// The segment that goes out.
    pub output: String,
    /// Where it is then.
    pub next: Next,
}

/// Where a transition leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another state.
    Place(Place),
    /// The handshake is given up.
    End,
}

/// A way to a state: all verdicts, and the segment that the last of them led to.
pub struct Walk {
    setting: Setting,
    verdicts: Vec<Verdict>,
    /// The state that it leads to.
    pub place: Place,
    /// The segment whose verdict is due there; `None` at the start.
    pub segment: Option<Segment>,
}

impl Walk {
    /// At the start.
    fn start(setting: Setting) -> Self {
        let place = Place::of(setting.machine().state());
        Self {
            setting,
            verdicts: Vec::new(),
            place,
            segment: None,
        }
    }

    /// Of the machine.
    pub const fn role(&self) -> Role {
        self.setting.role
    }

    /// A machine that has gone this way.
    fn machine(&self) -> Machine {
        let mut machine = self.setting.machine();
        for verdict in &self.verdicts {
            machine.advance(verdict);
        }
        machine
    }

    /// The segment that follows another verdict.
    pub fn answer(&self, verdict: &Verdict) -> Segment {
        self.machine().advance(verdict)
    }
}

/// All transitions, by their states, those nearer to the start first; and a way to each
/// state with each thing that it can hold.
///
/// Four rules hold in every state and are no rows: [`Verdict::Refused`] gives the
/// handshake up with its alert, [`Verdict::TooLong`] with decode_error if a message of that
/// type is expected, a message that no transition takes with
/// unexpected_message, and one with the wrong content with the alert for that.
pub fn record() -> (Vec<Row>, Vec<Walk>) {
    let (mut rows, mut walks) = (Vec::new(), Vec::new());
    for setting in settings() {
        // What a machine is and holds, in this configuration.
        let mut seen = HashSet::new();
        let mut ways = VecDeque::from([Walk::start(setting)]);
        while let Some(way) = ways.pop_front() {
            for verdict in way.setting.answers(way.segment.as_ref()) {
                let mut machine = way.machine();
                let segment = machine.advance(&verdict);
                let is_message = matches!(verdict, Verdict::Message { .. });
                let next = match &segment {
                    // What the offload component does not say there.
                    Segment::Abort {
                        alert: None | Some(Alert::INTERNAL_ERROR),
                        ..
                    } => continue,
                    Segment::Abort { .. } if is_message => continue,
                    Segment::Abort { .. } => Next::End,
                    _ => Next::Place(Place::of(machine.state())),
                };
                let row = Row {
                    role: way.role(),
                    from: way.place.clone(),
                    input: input(&verdict),
                    output: output(&segment),
                    next: next.clone(),
                };
                if !rows.contains(&row) {
                    rows.push(row);
                }
                let is_new = seen.insert(format!("{:?} {segment:?}", machine.state()));
                if let (Next::Place(place), true) = (next, is_new) {
                    ways.push_back(Walk {
                        setting: way.setting.clone(),
                        verdicts: [&way.verdicts[..], &[verdict]].concat(),
                        place,
                        segment: Some(segment),
                    });
                }
            }
            walks.push(way);
        }
    }
    let order = [Role::Server, Role::Client].map(|role| (role, downwards(&rows, role)));
    rows.sort_by_key(|row| {
        let of_role = order.iter().position(|(role, _)| *role == row.role);
        let places = of_role.and_then(|role| Some(&order.get(role)?.1));
        let place = places.and_then(|places| places.iter().position(|place| *place == row.from));
        (of_role, place)
    });
    (rows, walks)
}

/// The states of a role, each before those that it leads to, but for circles.
fn downwards(rows: &[Row], role: Role) -> Vec<Place> {
    let (mut order, mut seen) = (Vec::new(), Vec::new());
    if let Some(start) = rows.iter().find(|row| row.role == role) {
        descend(rows, role, &start.from, &mut seen, &mut order);
    }
    order.reverse();
    order
}

/// Appends what a state leads to, and then the state.
fn descend(rows: &[Row], role: Role, from: &Place, seen: &mut Vec<Place>, order: &mut Vec<Place>) {
    if seen.contains(from) {
        return;
    }
    seen.push(from.clone());
    let is_from = |row: &&Row| row.role == role && row.from == *from;
    for row in rows.iter().filter(is_from).rev() {
        if let Next::Place(next) = &row.next {
            descend(rows, role, next, seen, order);
        }
    }
    order.push(from.clone());
}
