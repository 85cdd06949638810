//! When a terminated domain is restarted, which domains are restarted with it, and when
//! it stays parked. Independent of the kernel; times are milliseconds since any moment.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// How often, and how soon, domains are restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Starts of one domain within `window_ms`; a domain that terminates once more stays
    /// parked. With zero no domain is restarted, and none is parked.
    pub limit: u32,
    /// Milliseconds.
    pub window_ms: u64,
    /// Milliseconds before the first start; twice as many before each further
    /// one within the window.
    pub delay_ms: u64,
    /// Milliseconds of processor time that a domain may get without a heartbeat; more is
    /// a watchdog timeout (ADR 0097). Zero: no limit.
    #[serde(default)]
    pub silence_ms: u64,
}

/// The delay does not grow further.
const MAX_DOUBLINGS: usize = 8;

/// What to do after a domain terminated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Park these, which [`Supervisor::due`] will name again.
    Park(Vec<usize>),
    /// Park these; they are not restarted.
    Leave(Vec<usize>),
    /// It was parked, or no domain is restarted: stop it, nothing else.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Parked { until: u64 },
    Left,
}

struct Life {
    state: State,
    /// The domains that can't go on without it, itself included; highest priority first.
    group: Vec<usize>,
    /// When it was restarted, within the window.
    starts: VecDeque<u64>,
}

/// The state of all domains.
pub struct Supervisor {
    restart: Restart,
    lives: Vec<Life>,
}

impl Supervisor {
    /// All domains run. `groups` says for each which domains are restarted with it,
    /// itself included, in the order of starting.
    pub fn new(restart: Restart, groups: impl Iterator<Item = Vec<usize>>) -> Self {
        let life = |group| Life {
            state: State::Running,
            group,
            starts: VecDeque::new(),
        };
        Self {
            restart,
            lives: groups.map(life).collect(),
        }
    }

    /// Whether `domain` is running.
    pub fn is_running(&self, domain: usize) -> bool {
        let life = self.lives.get(domain);
        life.is_some_and(|life| life.state == State::Running)
    }

    /// `domain` faulted, left its loop, or does not answer.
    pub fn ended(&mut self, domain: usize, now: u64) -> Verdict {
        let Restart {
            limit,
            window_ms,
            delay_ms,
            ..
        } = self.restart;
        let Some(life) = self.lives.get_mut(domain) else {
            return Verdict::Stop;
        };
        if life.state != State::Running {
            return Verdict::Stop;
        }
        if limit == 0 {
            life.state = State::Left;
            return Verdict::Stop;
        }
        while life.starts.front().is_some_and(|at| at + window_ms <= now) {
            life.starts.pop_front();
        }
        let count = life.starts.len();
        let is_over = count >= limit as usize;
        let group = life.group.clone();
        let until = now + (delay_ms << count.min(MAX_DOUBLINGS));
        if !is_over {
            life.starts.push_back(until);
        }
        let mut parked = Vec::new();
        for member in group {
            let Some(life) = self.lives.get_mut(member) else {
                continue;
            };
            if life.state == State::Running {
                parked.push(member);
            }
            life.state = match life.state {
                State::Left => State::Left,
                _ if is_over => State::Left,
                State::Parked { until: other } => State::Parked {
                    until: until.max(other),
                },
                State::Running => State::Parked { until },
            };
        }
        if is_over {
            Verdict::Leave(parked)
        } else {
            Verdict::Park(parked)
        }
    }

    /// All domains have to restart, without a fault of theirs; returns those to park. A
    /// domain that stays parked, or would not be restarted, stays as it is.
    pub fn restart_all(&mut self, now: u64) -> Vec<usize> {
        let Restart {
            limit, delay_ms, ..
        } = self.restart;
        let mut parked = Vec::new();
        if limit == 0 {
            return parked;
        }
        let until = now + delay_ms;
        for (number, life) in self.lives.iter_mut().enumerate() {
            if life.state == State::Running {
                life.state = State::Parked { until };
                parked.push(number);
            }
        }
        parked
    }

    /// Whom to start now, the first of the list first; they run from here on.
    pub fn due(&mut self, now: u64) -> Vec<usize> {
        let mut due = Vec::new();
        for (number, life) in self.lives.iter_mut().enumerate() {
            if let State::Parked { until } = life.state
                && until <= now
            {
                life.state = State::Running;
                due.push(number);
            }
        }
        due
    }

    /// Whether anybody waits for a start.
    pub fn is_waiting(&self) -> bool {
        let parked = |life: &Life| matches!(life.state, State::Parked { .. });
        self.lives.iter().any(parked)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const RESTART: Restart = Restart {
        limit: 3,
        window_ms: 1000,
        delay_ms: 10,
        silence_ms: 0,
    };

    /// Domain 0 takes 1 and 2 along, 1 takes 2, 2 goes alone.
    fn supervisor() -> Supervisor {
        let groups = vec![vec![0, 1, 2], vec![1, 2], vec![2]];
        Supervisor::new(RESTART, groups.into_iter())
    }

    #[test]
    fn a_domain_that_terminates_is_restarted_when_its_delay_is_over() {
        let mut supervisor = supervisor();
        assert_eq!(supervisor.ended(2, 100), Verdict::Park(vec![2]));
        assert!(!supervisor.is_running(2));
        assert_eq!(supervisor.due(109), vec![]);
        assert_eq!(supervisor.due(110), vec![2]);
        assert!(supervisor.is_running(2));
        assert_eq!(supervisor.due(1000), vec![]);
    }

    #[test]
    fn those_who_can_not_go_on_without_it_are_started_with_it() {
        let mut supervisor = supervisor();
        assert_eq!(supervisor.ended(0, 0), Verdict::Park(vec![0, 1, 2]));
        assert_eq!(supervisor.due(10), vec![0, 1, 2]);
    }

    #[test]
    fn the_delay_doubles_and_after_the_limit_there_is_no_start() {
        let mut supervisor = supervisor();
        let mut now = 0;
        for delay in [10, 20, 40] {
            assert_eq!(supervisor.ended(2, now), Verdict::Park(vec![2]));
            assert_eq!(supervisor.due(now + delay - 1), vec![]);
            now += delay;
            assert_eq!(supervisor.due(now), vec![2]);
        }
        assert_eq!(supervisor.ended(2, now), Verdict::Leave(vec![2]));
        assert_eq!(supervisor.due(now + 100_000), vec![]);
    }

    #[test]
    fn without_a_limit_in_the_description_nobody_is_started_or_parked() {
        let groups = vec![vec![0, 1], vec![1]];
        let mut supervisor = Supervisor::new(Restart::default(), groups.into_iter());
        assert_eq!(supervisor.ended(0, 0), Verdict::Stop);
        assert!(!supervisor.is_running(0));
        assert!(supervisor.is_running(1));
        assert!(!supervisor.is_waiting());
        assert_eq!(supervisor.due(1_000_000), vec![]);
    }

    #[test]
    fn starts_that_are_long_ago_do_not_count() {
        let mut supervisor = supervisor();
        for round in 0..20 {
            let now = round * 1100;
            assert_eq!(supervisor.ended(2, now), Verdict::Park(vec![2]));
            assert_eq!(supervisor.due(now + 10), vec![2], "round {round}");
        }
    }

    #[test]
    fn who_ends_while_it_is_parked_is_only_stopped() {
        let mut supervisor = supervisor();
        supervisor.ended(2, 0);
        assert_eq!(supervisor.ended(2, 1), Verdict::Stop);
        assert_eq!(supervisor.due(10), vec![2]);
    }

    #[test]
    fn a_member_that_waits_already_waits_for_the_later_of_both() {
        let mut supervisor = supervisor();
        supervisor.ended(2, 0);
        assert_eq!(supervisor.ended(0, 5), Verdict::Park(vec![0, 1]));
        assert_eq!(supervisor.due(14), vec![]);
        assert_eq!(supervisor.due(15), vec![0, 1, 2]);
    }

    #[test]
    fn all_are_restarted_without_a_fault_and_it_does_not_count() {
        let mut supervisor = supervisor();
        for round in 0..10 {
            let now = round * 100;
            assert_eq!(supervisor.restart_all(now), vec![0, 1, 2]);
            assert_eq!(supervisor.due(now + 9), vec![]);
            assert_eq!(supervisor.due(now + 10), vec![0, 1, 2]);
        }
        assert_eq!(supervisor.ended(2, 2000), Verdict::Park(vec![2]));
        // A domain that waits for its start keeps waiting.
        assert_eq!(supervisor.restart_all(2005), vec![0, 1]);
        assert_eq!(supervisor.due(2010), vec![2]);
        let groups = vec![vec![0]].into_iter();
        let mut supervisor = Supervisor::new(Restart::default(), groups);
        assert_eq!(supervisor.restart_all(0), vec![]);
        assert!(supervisor.is_running(0));
    }

    #[test]
    fn what_is_left_stays_left_when_another_takes_it_along() {
        let mut supervisor = supervisor();
        let mut now = 0;
        while supervisor.ended(2, now) != Verdict::Leave(vec![2]) {
            now += 100;
            supervisor.due(now);
        }
        supervisor.ended(0, now);
        assert_eq!(supervisor.due(now + 1000), vec![0, 1]);
    }
}
